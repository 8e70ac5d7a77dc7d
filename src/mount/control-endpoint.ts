import { lstat, readFile } from "node:fs/promises";
import { basename, dirname } from "node:path";
import type { StatePaths } from "./state-paths.js";

/** Where a mount daemon listens, and whose directory that must be. */
export interface ControlEndpoint {
  readonly path: string;
  readonly owner: number;
}

/** Others could put a socket of their own there. */
const WRITABLE_BY_OTHERS = 0o022;

/**
 * Where to ask a daemon: at the usual socket, or where the kernel says that a socket of this name listens. The two differ
 * when `mount` and `umount` have other runtime directories, as from cron and in a login session. A socket that another
 * user than the daemon's could have made does not count.
 * @param owner the user whose daemon it is
 */
export async function controlEndpoint(session: string, owner: number, paths: StatePaths): Promise<ControlEndpoint> {
  const usual = paths.controlSocket(session);
  const here = { path: usual, owner: process.geteuid?.() ?? 0 };
  const listening = listeningPaths(await readFile("/proc/net/unix", "utf8").catch(() => ""));
  if (listening.includes(usual)) return here;
  for (const path of listening.filter((one) => basename(one) === basename(usual))) {
    if (await isOnlyTheirs(dirname(path), owner)) return { path, owner };
  }
  return here;
}

async function isOnlyTheirs(folder: string, owner: number): Promise<boolean> {
  const stats = await lstat(folder).catch(() => undefined);
  return stats?.isDirectory() === true && stats.uid === owner && (stats.mode & WRITABLE_BY_OTHERS) === 0;
}

/**
 * Paths of the unix sockets that listen in this network namespace, also of removed ones.
 * @param table text of /proc/net/unix (proc(5)): `Num: RefCount Protocol Flags Type St Inode Path`, where __SO_ACCEPTCON
 *   is the one flag
 */
export function listeningPaths(table: string): string[] {
  return table.split("\n").flatMap((line) => /^\S+: \S+ \S+ 00010000 \S+ \S+ +\d+ (\/.*)$/.exec(line)?.[1] ?? []);
}
