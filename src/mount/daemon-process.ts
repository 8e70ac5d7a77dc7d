import { readFile } from "node:fs/promises";
import { setTimeout as delay } from "node:timers/promises";

/** A daemon that has said its last word has only its own exit left. */
const END_WAIT_MS = 10_000;
const END_POLL_MS = 20;

/**
 * Waits until the daemon of a session is no process any more, so that "umount" returning means that nothing is left.
 * Its arguments hold the session's id, so a reused pid is not mistaken for it.
 * @returns whether it is gone
 */
export async function daemonEnded(pid: number, session: string, waitMs = END_WAIT_MS): Promise<boolean> {
  for (const end = performance.now() + waitMs; await isDaemon(pid, session);) {
    if (performance.now() >= end) return false;
    await delay(END_POLL_MS);
  }
  return true;
}

async function isDaemon(pid: number, session: string): Promise<boolean> {
  // A zombie has no arguments left: it counts as gone.
  const words = (await readFile(`/proc/${pid}/cmdline`, "utf8").catch(() => "")).split("\0");
  return words.includes("daemon") && words.includes(session);
}
