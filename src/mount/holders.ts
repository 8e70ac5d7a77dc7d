import { readdir, readFile, readlink } from "node:fs/promises";
import { join } from "node:path";
import { BusyError } from "../errors.js";

/** A process that keeps a mount busy. */
export interface Holder {
  readonly pid: number;
  readonly command: string;
  /** What it has there: an open file or its working directory. */
  readonly path: string;
}

/** Enough to see who it is; a backup agent with hundreds of files open is one line. */
const HOLDERS_MAX = 10;

/**
 * Processes with an open file, working directory or root below `mountPoint`. Reads only links under /proc, which the
 * kernel answers without asking the mounted file system.
 */
export async function findHolders(mountPoint: string): Promise<Holder[]> {
  const holders: Holder[] = [];
  const pids = (await readdir("/proc")).filter((name) => /^\d+$/.test(name));
  for (const pid of pids) {
    if (holders.length >= HOLDERS_MAX) break;
    const path = await firstPathBelow(pid, mountPoint);
    if (path !== undefined) holders.push({ pid: Number(pid), command: await commandOf(pid), path });
  }
  return holders;
}

async function firstPathBelow(pid: string, mountPoint: string): Promise<string | undefined> {
  const links = [`/proc/${pid}/cwd`, `/proc/${pid}/root`];
  const descriptors = join("/proc", pid, "fd");
  links.push(...(await readdir(descriptors).catch(gone)).map((fd) => join(descriptors, fd)));
  for (const link of links) {
    const target = await readlink(link).catch(() => "");
    if (target === mountPoint || target.startsWith(`${mountPoint}/`)) return target;
  }
  return undefined;
}

/** The process ended, or belongs to somebody else, between listing and looking. */
function gone(): string[] {
  return [];
}

async function commandOf(pid: string): Promise<string> {
  return (await readFile(`/proc/${pid}/comm`, "utf8").catch(() => "")).trim();
}

/** `tar (pid 812) has "/mnt/backup/x" open`, one line each. */
function describeHolders(holders: readonly Holder[]): string {
  return holders
    .map((holder) => `${holder.command} (pid ${holder.pid}) uses ${JSON.stringify(holder.path)}`)
    .join("; ");
}

/** A mount that cannot be taken away because files are open, with who has them open. */
export async function busyMount(mountPoint: string, cause: BusyError): Promise<BusyError> {
  const holders = await findHolders(mountPoint);
  return new BusyError(
    `Cannot unmount "${mountPoint}": it is in use${holders.length > 0 ? ` (${describeHolders(holders)})` : ""}`,
    { cause, hint: "Wait until the reader is done, or give --force: its further reads then fail" },
  );
}
