import { readdir, readFile } from "node:fs/promises";
import { setTimeout as delay } from "node:timers/promises";

/** A daemon that has said its last word has only its own exit left. */
const END_WAIT_MS = 10_000;
const END_POLL_MS = 20;

/** A mount daemon in the process table. */
export interface DaemonProcess {
  readonly pid: number;
  /** The user who started it. */
  readonly uid: number;
  /** By SIGSTOP or a debugger: it does nothing until it is let go on. */
  readonly isStopped: boolean;
}

/**
 * Waits until the daemon of a session is no process any more, so that "umount" returning means that nothing is left.
 * Its arguments hold the session's id, so a reused pid is not mistaken for it.
 * @returns whether it is gone
 */
export async function daemonEnded(pid: number, session: string, waitMs = END_WAIT_MS): Promise<boolean> {
  for (const end = performance.now() + waitMs; (await daemonAt(pid, session)) !== undefined;) {
    if (performance.now() >= end) return false;
    await delay(END_POLL_MS);
  }
  return true;
}

/** The daemon of a session, if it is this process. */
export async function daemonAt(pid: number, session: string): Promise<DaemonProcess | undefined> {
  // A zombie has no arguments left: it counts as gone.
  const words = (await readFile(`/proc/${pid}/cmdline`, "utf8").catch(() => "")).split("\0");
  const at = words.indexOf("daemon");
  if (at < 0 || words[at + 1] !== session) return undefined;
  // The owner of /proc/PID tells nothing: it is root's for a process that forbids core dumps.
  const status = await readFile(`/proc/${pid}/status`, "utf8").catch(() => "");
  const [, uid] = /^Uid:\s*(\d+)/m.exec(status) ?? [];
  const isStopped = /^State:\s*[Tt]\b/m.test(status);
  return uid === undefined ? undefined : { pid, uid: Number(uid), isStopped };
}

/** What to do about a daemon that lives and does not answer, for people. */
export function silenceHint({ pid, isStopped }: DaemonProcess): string {
  if (!isStopped) return "It is being mounted or cleaned up: try again in a minute";
  return `Process ${pid} is stopped: "kill -CONT ${pid}" lets it go on, and unmount`;
}

/** The daemon of a session, wherever it keeps its files; with a user, processes of others do not count. */
export async function findDaemon(session: string, uid: number | "any user"): Promise<DaemonProcess | undefined> {
  for (const name of await readdir("/proc")) {
    if (!/^\d+$/.test(name)) continue;
    const daemon = await daemonAt(Number(name), session);
    if (daemon !== undefined && (uid === "any user" || daemon.uid === uid)) return daemon;
  }
  return undefined;
}
