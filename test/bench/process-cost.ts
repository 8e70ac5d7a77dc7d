import { readFile } from "node:fs/promises";
import { setTimeout as sleep } from "node:timers/promises";
import { KIB } from "../../src/units.js";

/** USER_HZ, the unit of the times in /proc/PID/stat: 100 on every architecture that Node runs on. */
const TICKS_PER_SECOND = 100;
/** A process that just started (or compiles what it has just run) is left alone until it rests. */
const REST_MS = 100;
const REST_MS_MAX = 3_000;

/** User and system time that the processes have used so far, in seconds. */
export async function cpuSeconds(pids: readonly number[]): Promise<number> {
  const each = await Promise.all(
    pids.map(async (pid) => {
      const text = await readFile(`/proc/${pid}/stat`, "utf8");
      // The name in parentheses may hold spaces; utime and stime are fields 14 and 15.
      const fields = text.slice(text.lastIndexOf(")") + 2).split(" ");
      return Number(fields[11]) + Number(fields[12]);
    }),
  );
  return each.reduce((sum, ticks) => sum + ticks, 0) / TICKS_PER_SECOND;
}

/** The most memory that each process has had at once (VmHWM), summed, in bytes. */
export function peakRssBytes(pids: readonly number[]): Promise<number> {
  return statusSum(pids, "VmHWM");
}

/** The memory that the processes have now (VmRSS), in bytes. */
export function rssBytes(pids: readonly number[]): Promise<number> {
  return statusSum(pids, "VmRSS");
}

async function statusSum(pids: readonly number[], field: string): Promise<number> {
  const each = await Promise.all(
    pids.map(async (pid) => {
      const text = await readFile(`/proc/${pid}/status`, "utf8");
      return Number(new RegExp(`^${field}:\\s+(\\d+) kB$`, "m").exec(text)?.[1] ?? 0) * KIB;
    }),
  );
  return each.reduce((sum, bytes) => sum + bytes, 0);
}

/** Waits until the processes use no processor time, but not for ever. */
export async function untilAtRest(pids: readonly number[]): Promise<void> {
  let before = await cpuSeconds(pids);
  for (let waited = 0; waited < REST_MS_MAX; waited += REST_MS) {
    await sleep(REST_MS);
    const now = await cpuSeconds(pids);
    if (now === before) return;
    before = now;
  }
}
