import { join } from "node:path";
import { fileURLToPath } from "node:url";
import type { CleanupStack } from "../../../src/cleanup.js";
import { PROGRAM } from "../../fixtures/host/command-line.js";
import { buildVddkStandIn, NATIVE_BUILD, VDDK_8, type VddkRules } from "../../fixtures/host/vddk-stand-in.js";
import { scratch } from "../../fixtures/scratch.js";
import type { Sample } from "../contender.js";
import { GIGA, MEGA } from "../measure.js";
import type { DrainOrder, DrainReport } from "../programs/drain-vddk.js";
import { mustRun } from "../programs.js";
import { ownerOf, type Workbench } from "../workbench.js";

const DRAIN_HOST = fileURLToPath(new URL("../programs/drain-vddk.js", import.meta.url));

/** For a mount over nbdssl. Builds the library where that is not done. @throws Error without a C compiler */
export async function standInEnvironment(rules: VddkRules): Promise<Record<string, string>> {
  await buildVddkStandIn();
  return { ...rules.env, VMMOUNT_VDDK_LIBDIR: VDDK_8, VMMOUNT_TRANSPORT: "nbdssl" };
}

/** The library by itself, in a program in C that throws everything away. */
export async function drainLibrary(bench: Workbench, latencyUs: number): Promise<Sample> {
  await buildVddkStandIn();
  const words = [VDDK_8, "drain", bench.site.labDirectory, pathOf(bench), String(latencyUs)];
  const { stdout } = await mustRun(join(NATIVE_BUILD, "exercise"), words, { signal: bench.signal });
  const { bytes, seconds, cpuSeconds } = JSON.parse(stdout) as DrainReport;
  return { value: bytes / MEGA / seconds, cpuSecondsPerGb: cpuSeconds / (bytes / GIGA) };
}

/** Our host and our NBD client without a mount. The value is their processor time for 10^9 bytes. */
export async function drainHost(bench: Workbench, owner: CleanupStack, rules: VddkRules): Promise<Sample> {
  const { signal, options } = bench;
  const env = await standInEnvironment(rules);
  const order: DrainOrder = {
    program: PROGRAM,
    libdir: VDDK_8,
    runtimeDir: scratch(ownerOf(owner)),
    path: pathOf(bench),
    expected: options.diskBytes,
  };
  const { stdout } = await mustRun(process.execPath, [DRAIN_HOST], { signal, env, input: JSON.stringify(order) });
  const { bytes, cpuSeconds } = JSON.parse(stdout) as DrainReport;
  return { value: cpuSeconds / (bytes / GIGA) };
}

function pathOf({ site }: Workbench): string {
  return `[ds1] ${site.dense}/${site.dense}.vmdk`;
}
