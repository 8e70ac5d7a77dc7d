import { mkdir, open, type FileHandle } from "node:fs/promises";
import { join } from "node:path";
import pLimit from "p-limit";
import type { ConfiguredServer } from "../config.js";
import { BusyError, errorFacts, RefusedError } from "../errors.js";
import { tryLock } from "../libc.js";
import { unwritable } from "../unwritable.js";
import { chooseServer } from "../mount/connection.js";
import { eraseTornImports } from "../mount/import-record.js";
import { unaskedImports } from "./imports.js";
import { Logins } from "./logins.js";
import type { GcReport, GcRow } from "./report.js";
import { GcServer, type ScanSite } from "./server.js";
import { collectSession, deadSessions } from "./sessions.js";
import type { GcOptions, GcSite } from "./site.js";

/** Each has a login and some calls under way. */
const SERVERS_MAX = 4;

type Scanned = { readonly server: ConfiguredServer; readonly found: GcServer | undefined } | GcRow;

/**
 * Removes what dead sessions have left: those of this host's journals first, which know more than a mark can say, then what
 * the servers show. A server that cannot be asked is a row and not the end; twice is harmless.
 * @param confirm is asked once, before anything is changed, with how many things it is about; never when that is none
 * @throws BusyError when another one is at work, RefusedError when `confirm` says no
 */
export async function collectGarbage(
  options: GcOptions,
  confirm: (count: number) => Promise<boolean>,
): Promise<GcReport> {
  const servers = chosenServers(options);
  await using lock = options.dryRun ? undefined : await lockRun(options);
  await using logins = new Logins(options);
  const site: GcSite = { ...options, logins };
  if (!site.dryRun) await eraseTornImports(site.paths);
  const sessions = await deadSessions(site);
  const turn = pLimit(SERVERS_MAX);
  const scan = (told: ReadonlySet<string>): Promise<Scanned[]> =>
    Promise.all(servers.map((server) => turn(() => scanned(server, { ...site, told }))));
  let found = await scan(new Set(sessions.map(({ id }) => id)));
  const count =
    sessions.length + found.reduce((sum, one) => sum + ("found" in one ? (one.found?.plannedCount(site) ?? 0) : 0), 0);
  if (lock !== undefined && count > 0 && !(await confirm(count))) {
    throw new RefusedError("Nothing was removed: it was not confirmed", { hint: "--yes does not ask" });
  }
  const rows: GcRow[] = [];
  for (const entry of sessions) rows.push(await collectSession(entry, site));
  // What the sessions had left is gone: it must not be told twice.
  if (lock !== undefined && sessions.length > 0) found = await scan(notEnded(rows));
  for (const one of found) {
    if (!("found" in one)) rows.push(one);
    else if (one.found !== undefined) rows.push(...(await one.found.collect(site)));
  }
  const isAll = options.servers.length === 0 && options.choice.server === undefined;
  // As a connection has it.
  const urls = servers.map(({ url }) => url.replace(/\/$/, ""));
  if (isAll) rows.push(...(await unaskedImports(urls, site)));
  return { dryRun: options.dryRun, rows };
}

function notEnded(rows: readonly GcRow[]): ReadonlySet<string> {
  return new Set(rows.filter(({ action }) => action !== "removed").map(({ name }) => name));
}

/** @throws UsageError for a name that is not configured */
function chosenServers({ config, choice, servers }: GcOptions): ConfiguredServer[] {
  const names =
    servers.length > 0 ? servers : choice.server === undefined ? [...config.servers.keys()] : [choice.server];
  return [...new Set(names)].map((name) => chooseServer(config, name, choice));
}

async function scanned(server: ConfiguredServer, site: ScanSite): Promise<Scanned> {
  try {
    return { server, found: await GcServer.scan(server, site) };
  } catch (error) {
    site.signal.throwIfAborted();
    const nobody = { vm: null, ref: null, class: null, host: null, ageSeconds: null };
    const reason = errorFacts(error).message;
    return { kind: "server", server: server.name, name: server.name, ...nobody, action: "unasked", reason };
  }
}

/** Two at once would each find what the other is removing. @throws BusyError */
async function lockRun({ paths }: GcOptions): Promise<FileHandle> {
  await paths.prepare();
  await mkdir(paths.locks, { recursive: true, mode: 0o700 });
  const path = join(paths.locks, "gc.lock");
  const file = await open(path, "a+", 0o600).catch((error: unknown) => {
    throw unwritable({ doing: `make a lock in "${paths.locks}"`, setting: "runtime.dir" }, error);
  });
  if (tryLock(file.fd)) return file;
  await file.close();
  throw new BusyError("Cannot clean up: another vmmount gc is at work", { retryable: true, hint: "Wait for its end" });
}
