import { readFile } from "node:fs/promises";
import type { Config, ConfiguredServer } from "../config.js";
import { closeNames } from "../close-names.js";
import { type CredentialInput, findCredential, type Secret } from "../credentials.js";
import { ConfigError, UsageError } from "../errors.js";
import type { Hypervisor } from "../hypervisor.js";
import type { Logger } from "../log.js";
import type { SessionFacts } from "../snapshot/journal-record.js";

/** Everything needed to log in to one server. */
export interface Connection {
  readonly name: string;
  readonly url: string;
  readonly user: string;
  readonly password: Secret;
  /** PEM text. */
  readonly ca: string | undefined;
  readonly caFile: string | undefined;
  readonly fingerprint: string | undefined;
  readonly insecure: boolean;
}

/** What the command line and the environment say about the server. */
export interface ServerChoice {
  /** A configured name, or an https URL. */
  readonly server?: string | undefined;
  readonly user?: string | undefined;
  readonly caFile?: string | undefined;
  readonly fingerprint?: string | undefined;
  readonly insecure?: boolean | undefined;
  readonly credential: Omit<CredentialInput, "server">;
}

/**
 * Picks the server: the locator's `SERVER:` prefix, else `--server` or `default_server`, else the only one configured.
 * @throws UsageError or ConfigError that lists the configured servers
 */
export function chooseServer(config: Config, prefix: string | undefined, choice: ServerChoice): ConfiguredServer {
  const wanted = prefix ?? choice.server ?? config.settings["default_server"];
  const names = [...config.servers.keys()];
  const base = wanted === "" ? onlyServer(config) : namedServer(config, wanted, names);
  return {
    ...base,
    user: choice.user ?? base.user,
    ca_file: choice.caFile ?? base.ca_file,
    fingerprint: choice.fingerprint ?? base.fingerprint,
    insecure: choice.insecure ?? base.insecure,
  };
}

function onlyServer(config: Config): ConfiguredServer {
  const [first, ...others] = config.servers.values();
  if (first !== undefined && others.length === 0) return first;
  if (first === undefined) {
    throw new ConfigError("Cannot choose a server: none is configured", {
      hint: "Give --server https://vcenter.example.org --user NAME, or write a [server.NAME] table into /etc/vmmount/config.toml",
    });
  }
  const names = [...config.servers.keys()].join(", ");
  throw new UsageError(`Cannot choose a server: several are configured (${names})`, {
    hint: `Give --server ${first.name}, write ${first.name}: before the VM, or set default_server`,
  });
}

function namedServer(config: Config, wanted: string, names: readonly string[]): ConfiguredServer {
  const configured = config.servers.get(wanted);
  if (configured !== undefined) return configured;
  if (/^https:\/\//i.test(wanted)) return serverFromUrl(wanted);
  const close = closeNames(wanted, names, 1)[0];
  throw new UsageError(`Cannot use server "${wanted}": it is not configured`, {
    hint:
      close !== undefined
        ? `Did you mean "${close}"?`
        : names.length > 0
          ? `Configured servers: ${names.join(", ")}`
          : "Give an https URL, or write a [server.NAME] table into /etc/vmmount/config.toml",
  });
}

function serverFromUrl(text: string): ConfiguredServer {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (url === undefined || url.username !== "" || url.password !== "" || url.pathname !== "/" || url.search !== "") {
    throw new UsageError(
      `Cannot use server URL "${text.replace(/\/\/[^/@]*@/, "//…@")}": write https://host or https://host:port`,
      {
        hint: "User and password have options of their own (--user, --password-file)",
      },
    );
  }
  return { name: url.host, url: url.origin, origin: undefined };
}

/** Reads CA file and password. @throws ConfigError */
export async function prepareConnection(server: ConfiguredServer, choice: ServerChoice): Promise<Connection> {
  const credential = await findCredential({ ...choice.credential, server });
  return {
    name: server.name,
    url: server.url.replace(/\/$/, ""),
    user: credential.user,
    password: credential.password,
    ca: server.ca_file === undefined ? undefined : await readCa(server.ca_file),
    caFile: server.ca_file,
    fingerprint: server.fingerprint,
    insecure: server.insecure ?? false,
  };
}

async function readCa(path: string): Promise<string> {
  try {
    const text = await readFile(path, "utf8");
    if (!text.includes("-----BEGIN CERTIFICATE-----")) throw new Error("It holds no PEM certificate");
    return text;
  } catch (error) {
    throw new ConfigError(`Cannot read CA file "${path}": ${(error as Error).message}`, { cause: error });
  }
}

/** Logs in. @throws UnreachableError, AuthError */
export async function openHypervisor(connection: Connection, logger: Logger, signal: AbortSignal): Promise<Hypervisor> {
  // The HTTP client takes a quarter of a second to load: commands that only talk to a daemon do without it.
  const { connectVsphere } = await import("../vsphere/connect.js");
  return await connectVsphere({
    url: connection.url,
    user: connection.user,
    password: connection.password.reveal(),
    tls: { ca: connection.ca, fingerprint: connection.fingerprint, insecure: connection.insecure },
    logger,
    signal,
  });
}

/** What the journal keeps of a connection. */
export function journaledServer(connection: Connection): SessionFacts["server"] {
  const { name, url, user, fingerprint, caFile, insecure } = connection;
  return { name, url, user, insecure, ...(fingerprint && { fingerprint }), ...(caFile && { caFile }) };
}

/**
 * The server of an earlier session: as the journal remembers it, with the flags of this command and the configuration
 * of today before that, since certificates change.
 */
export function rememberedServer(
  config: Config,
  facts: SessionFacts["server"],
  choice: Pick<ServerChoice, "caFile" | "fingerprint" | "insecure">,
): ConfiguredServer {
  const configured = config.servers.get(facts.name);
  return {
    ...(configured ?? { name: facts.name, url: facts.url, origin: undefined }),
    url: facts.url,
    user: facts.user,
    ca_file: choice.caFile ?? configured?.ca_file ?? facts.caFile,
    fingerprint: choice.fingerprint ?? configured?.fingerprint ?? facts.fingerprint,
    insecure: choice.insecure ?? configured?.insecure ?? facts.insecure,
  };
}
