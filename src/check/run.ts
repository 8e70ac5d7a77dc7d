import pLimit from "p-limit";
import type { Config } from "../config.js";
import { UsageError } from "../errors.js";
import { type Locator, parseLocator } from "../locator.js";
import type { Logger } from "../log.js";
import { chooseServer, type ServerChoice } from "../mount/connection.js";
import type { StatePaths } from "../mount/state-paths.js";
import { isDirUrl } from "../dir-url.js";
import { isXenUrl } from "../xen-url.js";
import { checkLocalHost } from "./local-host.js";
import { type CheckReport, toReport } from "./report.js";
import { checkServer } from "./server.js";

/** Servers that are asked side by side. */
const SERVERS_AT_ONCE_MAX = 4;

export interface CheckOptions {
  readonly config: Config;
  readonly choice: ServerChoice;
  readonly paths: StatePaths;
  readonly logger: Logger;
  readonly signal: AbortSignal;
  /** How long a server may take for one question; absent: as long as it needs at most. */
  readonly questionMs?: number | undefined;
}

/** What to look at besides this host: one server, with a VM or without, or all that are configured. */
export interface CheckTarget {
  readonly server: string | undefined;
  readonly locator: Locator | undefined;
}

/**
 * `[SERVER] [VM]`: a first word that is neither a configured server nor a URL is a VM of the default server.
 * @throws UsageError
 */
export function parseTarget(first: string | undefined, second: string | undefined, config: Config): CheckTarget {
  const names = new Set(config.servers.keys());
  const isServer = (word: string): boolean =>
    names.has(word) || /^https:\/\//i.test(word) || isXenUrl(word) || isDirUrl(word);
  if (first === undefined) return { server: undefined, locator: undefined };
  if (second !== undefined) return { server: first, locator: parseLocator(second, names, config.settings.lookup) };
  if (isServer(first)) return { server: first, locator: undefined };
  return { server: undefined, locator: parseLocator(first, names, config.settings.lookup) };
}

/** Asks everything, and changes nothing anywhere. @throws UsageError for a server that is not known */
export async function runChecks(target: CheckTarget, options: CheckOptions): Promise<CheckReport> {
  const { config, choice, paths, logger, signal, questionMs } = options;
  const { settings } = config;
  const limit = pLimit(SERVERS_AT_ONCE_MAX);
  const servers = serversOf(target, config, choice);
  const [host, ...answers] = await Promise.all([
    checkLocalHost({ settings, paths }, signal),
    ...servers.map((server) =>
      limit(() => checkServer(server, target.locator, { settings, choice, paths, logger, questionMs }, signal)),
    ),
  ]);
  return toReport([...host, ...answers.flat()]);
}

function serversOf({ server, locator }: CheckTarget, config: Config, choice: ServerChoice) {
  const named = locator?.server ?? server ?? choice.server;
  if (named !== undefined || locator !== undefined) return [chooseServer(config, locator?.server ?? server, choice)];
  // A default may be a URL, or a name of the environment that nobody has checked yet: a mount goes there.
  const byDefault = config.settings.default_server;
  const all = [...new Set([...config.servers.keys(), ...(byDefault === "" ? [] : [byDefault])])];
  const [flag] = choice.loginFlags ?? [];
  if (flag !== undefined && all.length > 1) {
    throw new UsageError(`Cannot use ${flag} with ${all.length} servers: name the one that it is for`);
  }
  return all.map((name) => chooseServer(config, name, choice));
}
