import { join } from "node:path";
import type { CleanupStack } from "../../../src/cleanup.js";
import type { Sample } from "../contender.js";
import { GIGA } from "../measure.js";
import { cpuSeconds } from "../process-cost.js";
import { mustRun, Program } from "../programs.js";
import type { Workbench } from "../workbench.js";
import { hasSize } from "./mounted.js";

/** The full disk from nbdkit's file plugin, read by nbdcopy and thrown away: what the hop costs programs in C. */
export async function drainNbdkit(bench: Workbench, owner: CleanupStack): Promise<Sample> {
  const { site, options, signal } = bench;
  const socket = join(await bench.folder("nbd"), "socket");
  const words = ["--foreground", "--readonly", "--unix", socket, "file", site.local.flat];
  const nbdkit = await Program.start(owner, "nbdkit", words);
  await nbdkit.ready(() => hasSize(socket, 0));
  const before = await cpuSeconds([nbdkit.pid]);
  const copy = 'nbdcopy "nbd+unix:///?socket=$1" null: && times';
  const { stdout } = await mustRun("sh", ["-c", copy, "sh", socket], { signal });
  const used = (await cpuSeconds([nbdkit.pid])) - before + childSeconds(stdout);
  return { value: used / (options.diskBytes / GIGA) };
}

/** The second line of the shell's "times": user and system time of what it ran, such as `0m0.12s 0m1.5s`. */
function childSeconds(text: string): number {
  const times = [...(text.trim().split("\n").at(-1) ?? "").matchAll(/(\d+)m([\d.]+)s/g)];
  if (times.length !== 2) throw new Error(`The shell's times are "${text.trim()}"`);
  return times.reduce((sum, [, minutes, seconds]) => sum + Number(minutes) * 60 + Number(seconds), 0);
}
