import { errorFacts } from "../errors.js";
import type { ConfiguredServer } from "../config.js";
import type { Hypervisor } from "../hypervisor.js";
import type { Locator } from "../locator.js";
import type { Logger } from "../log.js";
import { type Connection, openHypervisor, prepareConnection, type ServerChoice } from "../mount/connection.js";
import type { StatePaths } from "../mount/state-paths.js";
import type { Settings } from "../settings.js";
import { isDirUrl } from "../dir-url.js";
import { bounded, within } from "./bounded.js";
import { failed, type Finding, ok, skip } from "./finding.js";
import { checkPorts } from "./host-ports.js";
import { usableTransports } from "./host-transports.js";
import { about, type Check, type Subject } from "./report.js";
import { checkCertificate } from "./server-certificate.js";
import { checkClock } from "./server-clock.js";
import { checkRights } from "./server-rights.js";
import { checkVm } from "./vm.js";

/** Finding the master of a pool asks one host after the other; a wrong password alone is answered after some seconds. */
const LOGIN_MS = 60_000;
/** Logging out is a courtesy. */
const LOGOUT_MS = 10_000;

export interface ServerCheckOptions {
  readonly settings: Settings;
  readonly choice: ServerChoice;
  readonly paths: StatePaths;
  readonly logger: Logger;
  readonly questionMs?: number | undefined;
}

/** One server and, where a VM is named, that VM. Never throws for what it finds out. */
export async function checkServer(
  server: ConfiguredServer,
  locator: Locator | undefined,
  options: ServerCheckOptions,
  signal: AbortSignal,
): Promise<Check[]> {
  const subject: Subject = { kind: "server", name: server.name };
  let connection: Connection;
  try {
    connection = await prepareConnection(server, options.choice);
  } catch (error) {
    signal.throwIfAborted();
    return about(subject, [failed("server.credentials", errorFacts(error))]);
  }
  const isFolder = isDirUrl(connection.url);
  const before = isFolder ? [] : await bounded("server.reach", signal, () => checkCertificate(connection));
  if (before.some(({ state }) => state === "fail")) {
    const why = "Not asked: the password is not sent to a server that does not answer or is not trusted";
    return about(subject, [...before, skip("server.login", why)]);
  }
  const { hypervisor, findings } = await logIn(connection, options.logger, signal);
  const start = about(subject, [...before, ...findings]);
  if (hypervisor === undefined) return start;
  try {
    return [...start, ...(await afterLogin(hypervisor, { subject, locator, options }, signal))];
  } finally {
    await leave(hypervisor, options.logger);
  }
}

async function logIn(
  connection: Connection,
  logger: Logger,
  signal: AbortSignal,
): Promise<{ readonly hypervisor: Hypervisor | undefined; readonly findings: readonly Finding[] }> {
  let hypervisor: Hypervisor | undefined;
  const late = new AbortController();
  const ask = async (asked: AbortSignal): Promise<readonly Finding[]> => {
    const opened = await openHypervisor(connection, logger, asked);
    if (late.signal.aborted) {
      await leave(opened, logger);
      return [];
    }
    hypervisor = opened;
    const { product, version, url } = opened.identity;
    const isFolder = opened.identity.kind === "dir";
    const text = isFolder ? `${url} can be read` : `"${connection.user}" can log in at ${url}`;
    return [
      ok("server.login", text),
      ok("server.product", isFolder ? "A folder of VMs" : `${product}, version ${version}`),
    ];
  };
  const findings = await bounded("server.login", signal, ask, LOGIN_MS);
  late.abort();
  return { hypervisor, findings };
}

async function leave(hypervisor: Hypervisor, logger: Logger): Promise<void> {
  const { signal } = new AbortController();
  try {
    await within(LOGOUT_MS, signal, async () => {
      await hypervisor[Symbol.asyncDispose]();
    });
  } catch (error) {
    // Whatever it says, nothing that was found out changes.
    logger.debug("Cannot log out", { error: String(error) });
  }
}

async function afterLogin(
  hypervisor: Hypervisor,
  what: { readonly subject: Subject; readonly locator: Locator | undefined; readonly options: ServerCheckOptions },
  signal: AbortSignal,
): Promise<Check[]> {
  const { subject, locator, options } = what;
  const { health, identity } = hypervisor;
  const ask = (id: string, work: Parameters<typeof bounded>[2]): Promise<readonly Finding[]> =>
    bounded(id, signal, work, options.questionMs);
  const clock = health === undefined ? [] : await ask("server.clock", (asked) => checkClock(health, asked));
  const checks = about(subject, clock);
  const usable = identity.kind === "dir" ? [] : (await usableTransports(options.settings))[identity.kind];
  if (locator !== undefined) {
    return [...checks, ...(await checkVm(hypervisor, locator, { ...options, usable }, signal))];
  }
  if (health === undefined) return checks;
  const rights = await ask("privileges", (asked) => checkRights(health, undefined, asked));
  const ports = await ask("ports", async (asked) =>
    checkPorts(await health.ports(undefined, { signal: asked }), usable, asked),
  );
  return [...checks, ...about(subject, [...rights, ...ports])];
}
