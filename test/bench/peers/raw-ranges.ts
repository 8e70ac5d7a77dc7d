import { readFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import type { Sample } from "../contender.js";
import type { LabAddress } from "../lab-address.js";
import { GIGA, MEGA } from "../measure.js";
import { mustRun } from "../programs.js";
import type { RangeOrder, RangeReport } from "../programs/read-ranges.js";
import type { Workbench } from "../workbench.js";

export const RAW_RANGES = "raw range reader";

const PROGRAM = fileURLToPath(new URL("../programs/read-ranges.js", import.meta.url));

/** What https from Node can give at all: ranged GETs without a file system, over as many connections as vmmount has. */
export async function readRawRanges(bench: Workbench, lab: LabAddress): Promise<Sample> {
  const { options, signal } = bench;
  const order: RangeOrder = {
    url: lab.denseUrl,
    cookie: lab.cookie,
    ca: await readFile(lab.certificatePath, "utf8"),
    bytes: options.diskBytes,
    limitMs: options.readLimitMs,
  };
  const { stdout } = await mustRun(process.execPath, [PROGRAM], { signal, input: JSON.stringify(order) });
  const { bytes, seconds, cpuSeconds, peakRssBytes } = JSON.parse(stdout) as RangeReport;
  return { value: bytes / MEGA / seconds, cpuSecondsPerGb: cpuSeconds / (bytes / GIGA), peakRssBytes };
}
