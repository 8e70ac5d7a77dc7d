import { X509Certificate } from "node:crypto";
import { readFile } from "node:fs/promises";
import type { Config, ConfiguredServer } from "../config.js";
import { closeNames } from "../close-names.js";
import { type CredentialInput, findCredential, Secret } from "../credentials.js";
import { dirUrl, folderOfDirUrl, isDirUrl } from "../dir-url.js";
import { ConfigError, errorChain, QuiesceError, UsageError } from "../errors.js";
import type { Hypervisor } from "../hypervisor.js";
import type { Logger } from "../log.js";
import { type Asking, askAgain } from "../server-retry.js";
import type { Settings } from "../settings.js";
import type { SessionFacts } from "../snapshot/journal-record.js";
import { httpsOfXenUrl, isXenUrl, xenUrl } from "../xen-url.js";

/** Everything needed to log in to one server; of a folder of VMs, the URL alone counts. */
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
  /** How long a call may take; absent: as long as usual. */
  readonly timeoutMs?: number | undefined;
}

/** What the command line and the environment say about the server. */
export interface ServerChoice {
  /** A configured name, or an https, xen or dir URL. */
  readonly server?: string | undefined;
  readonly user?: string | undefined;
  readonly caFile?: string | undefined;
  readonly fingerprint?: string | undefined;
  readonly insecure?: boolean | undefined;
  readonly credential: Omit<CredentialInput, "server">;
  /** Options of this command that are about logging in, such as "--user"; what the environment says is not among them. */
  readonly loginFlags?: readonly string[] | undefined;
}

/**
 * Picks the server: the locator's `SERVER:` prefix, else `--server` or `default_server`, else the only one configured.
 * @throws UsageError or ConfigError that lists the configured servers
 */
export function chooseServer(config: Config, prefix: string | undefined, choice: ServerChoice): ConfiguredServer {
  const wanted = prefix ?? choice.server ?? config.settings["default_server"];
  const names = [...config.servers.keys()];
  const base = wanted === "" ? onlyServer(config) : namedServer(config, wanted, names);
  if (isDirUrl(base.url)) {
    const [flag] = choice.loginFlags ?? [];
    if (flag === undefined) return base;
    throw new UsageError(`Cannot use ${flag} with "${base.url}": nobody logs in to a folder`);
  }
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
      hint: "Give --server https://vcenter.example.org (a Xen pool: xen://host.example.org) --user NAME, or --server dir:///FOLDER, or write a [server.NAME] table into /etc/vmmount/config.toml",
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
  if (isXenUrl(wanted)) return serverFromXenUrl(wanted);
  if (isDirUrl(wanted)) return serverFromDirUrl(wanted);
  const close = closeNames(wanted, names, 1)[0];
  throw new UsageError(`Cannot use server "${wanted}": it is not configured`, {
    hint:
      close !== undefined
        ? `Did you mean "${close}"?`
        : names.length > 0
          ? `Configured servers: ${names.join(", ")}`
          : "Give an https or xen URL or dir:///FOLDER, or write a [server.NAME] table into /etc/vmmount/config.toml",
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

function serverFromXenUrl(text: string): ConfiguredServer {
  try {
    const url = xenUrl(text);
    return { name: new URL(httpsOfXenUrl(text)).host, url, origin: undefined };
  } catch (error) {
    throw new UsageError(errorChain(error).replace(/\/\/[^/@]*@/, "//…@"), {
      cause: error,
      hint: "User and password have options of their own (--user, --password-file)",
    });
  }
}

function serverFromDirUrl(text: string): ConfiguredServer {
  try {
    const url = dirUrl(folderOfDirUrl(text));
    return { name: url, url, origin: undefined };
  } catch (error) {
    throw new UsageError(errorChain(error), { cause: error });
  }
}

/** Reads CA file and password; a folder of VMs needs neither. @throws ConfigError */
export async function prepareConnection(server: ConfiguredServer, choice: ServerChoice): Promise<Connection> {
  if (isDirUrl(server.url)) {
    const none = { user: "", password: new Secret(""), ca: undefined, caFile: undefined, fingerprint: undefined };
    return { name: server.name, url: dirUrl(folderOfDirUrl(server.url)), ...none, insecure: false };
  }
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
    timeoutMs: server.timeout,
  };
}

async function readCa(path: string): Promise<string> {
  try {
    const text = await readFile(path, "utf8");
    const blocks = text.match(/-----BEGIN CERTIFICATE-----[^-]*-----END CERTIFICATE-----/g) ?? [];
    if (!text.includes("-----BEGIN CERTIFICATE-----")) throw new Error("It holds no PEM certificate");
    // TLS passes over a damaged one, and the server would be told to be the one that is wrong.
    for (const [index, block] of blocks.entries()) refuseDamaged(block, index + 1);
    return text;
  } catch (error) {
    throw new ConfigError(`Cannot read CA file "${path}": ${(error as Error).message}`, { cause: error });
  }
}

function refuseDamaged(pem: string, number: number): void {
  try {
    new X509Certificate(pem);
  } catch (cause) {
    throw new Error(`Certificate ${number} in it is damaged`, { cause });
  }
}

/** Logs in, or opens the folder. @throws UnreachableError, AuthError, NotFoundError */
export async function openHypervisor(connection: Connection, logger: Logger, signal: AbortSignal): Promise<Hypervisor> {
  if (isDirUrl(connection.url)) {
    const { openLocalFolder } = await import("../local/connect.js");
    return await openLocalFolder(connection.url, logger);
  }
  const options = { ...serverAccess(connection), logger, signal };
  if (isXenUrl(connection.url)) {
    const { connectXen } = await import("../xen/connect.js");
    return await connectXen(options);
  }
  // The HTTP client takes a quarter of a second to load: commands that only talk to a daemon do without it.
  const { connectVsphere } = await import("../vsphere/connect.js");
  return await connectVsphere(options);
}

/** Logs in, again where that fails for a passing reason. @throws what openHypervisor throws */
export function login(connection: Connection, asking: Asking): Promise<Hypervisor> {
  return askAgain("Logging in", () => openHypervisor(connection, asking.logger, asking.signal), asking);
}

/** As the clients of servers want it. */
export function serverAccess(connection: Connection): {
  readonly url: string;
  readonly user: string;
  readonly password: string;
  readonly tls: {
    readonly ca: string | undefined;
    readonly fingerprint: string | undefined;
    readonly insecure: boolean;
  };
  readonly timeoutMs: number | undefined;
} {
  const { url, user, password, ca, fingerprint, insecure, timeoutMs } = connection;
  return { url, user, password: password.reveal(), tls: { ca, fingerprint, insecure }, timeoutMs };
}

/** What VMware's library wants to know of the server's certificate. @throws UnreachableError */
export async function thumbprintOf({ url, ca, fingerprint, insecure }: Connection): Promise<string> {
  const { serverThumbprint } = await import("../vsphere/thumbprint.js");
  return await serverThumbprint(url, { ca, fingerprint, insecure });
}

/**
 * Nobody can ask a guest to flush when there is only a folder; whoever insists on it hears that before anything happens.
 * @throws QuiesceError
 */
export function refuseToQuiesce(server: ConfiguredServer, settings: Settings): void {
  if (!isDirUrl(server.url) || settings["snapshot.quiesce"] !== "require") return;
  throw new QuiesceError(`Cannot quiesce a VM of "${server.url}": it is a folder, from which no guest can be reached`, {
    hint: "Shut the VM down and mount it with --quiesce off",
  });
}

/**
 * Only Xen freezes a VM in more than one way.
 * @throws UsageError
 */
export function refuseSnapshotKind(server: ConfiguredServer, settings: Settings): void {
  const kind = settings["snapshot.kind"];
  if (kind === "disks" || isXenUrl(server.url)) return;
  throw new UsageError(`Cannot use --${kind} with "${server.url}": only Xen pools make such snapshots`, {
    hint: 'Leave it out, or set snapshot.kind to "disks"',
  });
}

/**
 * A folder has no snapshots to use or to keep, and one that is there already was made in its own way.
 * @throws UsageError
 */
export function refuseSnapshotPolicy(server: ConfiguredServer, settings: Settings): void {
  const policy = settings["snapshot.policy"];
  if (policy === "automatic") return;
  if (isDirUrl(server.url)) {
    throw new UsageError(`Cannot use the policy ${policy} with "${server.url}": a folder of VMs has no snapshots`, {
      hint: "Leave out --policy, or set snapshot.policy to automatic",
    });
  }
  const kind = settings["snapshot.kind"];
  if (policy === "createonly" || kind === "disks") return;
  throw new UsageError(`Cannot use --${kind} with the policy ${policy}: it makes no snapshot`, {
    hint: `Leave one of them out`,
  });
}

/** What the journal keeps of a connection. */
export function journaledServer(connection: Connection): SessionFacts["server"] {
  const { name, url, user, fingerprint, caFile, insecure } = connection;
  return { name, url, user, insecure, ...(fingerprint && { fingerprint }), ...(caFile && { caFile }) };
}

/**
 * The server of an earlier session: as the journal remembers it, with the flags of this command and the configuration
 * of today before that, since certificates and accounts change. A Xen pool may be reached by another of its hosts.
 * @throws UsageError for a server that is not known
 */
export function rememberedServer(
  config: Config,
  facts: SessionFacts["server"],
  choice: Pick<ServerChoice, "server" | "caFile" | "fingerprint" | "insecure"> & {
    readonly credential?: Pick<ServerChoice["credential"], "passwordFile" | "passwordFd">;
  },
): ConfiguredServer {
  const { passwordFile, passwordFd } = choice.credential ?? {};
  const other = otherHost(config, facts.url, choice.server);
  const now = other ?? config.servers.get(facts.name);
  // A pin is of one host, and wins over a CA: that of then must not keep out what is trusted today.
  const isPinOver = other !== undefined || choice.caFile !== undefined || now?.ca_file !== undefined;
  const pin =
    (choice.caFile === undefined ? now?.fingerprint : undefined) ?? (isPinOver ? undefined : facts.fingerprint);
  return {
    ...(now ?? { name: facts.name, origin: undefined }),
    url: other?.url ?? facts.url,
    // A password of the configuration is that of its user: with another name it would be a wrong one, and lock accounts.
    user: (passwordFile === undefined && passwordFd === undefined ? now?.user : undefined) ?? facts.user,
    ca_file: choice.caFile ?? now?.ca_file ?? facts.caFile,
    fingerprint: choice.fingerprint ?? pin,
    insecure: choice.insecure ?? now?.insecure ?? facts.insecure,
  };
}

/** The host that the session knew may be gone; the others of its pool know the same. */
function otherHost(config: Config, url: string, wanted: string | undefined): ConfiguredServer | undefined {
  if (wanted === undefined || !isXenUrl(url)) return undefined;
  const named = namedServer(config, wanted, [...config.servers.keys()]);
  return isXenUrl(named.url) && named.url !== url ? named : undefined;
}
