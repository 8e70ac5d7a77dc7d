import { readFile } from "node:fs/promises";

/** SIGKILL is signal 9, the ninth bit of a signal mask. */
const SIGKILL_BIT = 1n << 8n;

/**
 * Whether the thread `pid` is about to die: the kernel puts SIGKILL into the pending set of every thread of a process
 * that any deadly signal hit. `SigPnd` in /proc/PID/status is the thread's own set (proc(5)).
 */
export async function isDying(pid: number): Promise<boolean> {
  // 0: a process that our namespace does not see.
  if (pid === 0) return false;
  const status = await readFile(`/proc/${pid}/status`, "utf8").catch(() => "");
  if (status === "") return true;
  const pending = /^SigPnd:\s*([0-9a-f]+)$/m.exec(status)?.[1];
  return pending !== undefined && (BigInt(`0x${pending}`) & SIGKILL_BIT) !== 0n;
}
