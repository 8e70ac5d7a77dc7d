import { CleanupStack } from "../../../src/cleanup.js";
import { ProxyHost } from "../../fixtures/host/proxy-host.js";
import { VddkRules } from "../../fixtures/host/vddk-stand-in.js";
import { startLabProcess } from "../lab-address.js";
import { mustEqual, rateAndCost } from "../measure.js";
import { drainNbdkit } from "../peers/nbdkit-copy.js";
import { drainHost, drainLibrary, standInEnvironment } from "../peers/vddk-stand-in.js";
import { mountMachine } from "../peers/vmmount.js";
import { readSequentially } from "../sequential-read.js";
import { alternate, type Entrant, type Table } from "../table.js";
import { ownerOf, type Workbench } from "../workbench.js";

export const VDDK_MOUNT = "vmmount, nbdssl";
export const VDDK_ALONE = "the library alone, 4 requests at a time";
export const VDDK_HOP = "VDDK host + vmmount's NBD client";
export const NBDKIT_HOP = "nbdkit file + nbdcopy";
/** A library that is faster than this machine copies, and one that takes its time. */
export const LATENCIES_US = [1_000, 10_000] as const;

/**
 * Case j: VMware's library, for which the stand-in of `native/` is here: what a mount leaves of its speed, and what it costs that the
 * library has a process of its own.
 */
export async function vddk(bench: Workbench): Promise<Table[]> {
  await using owner = new CleanupStack();
  const lab = await startLabProcess(bench, owner);
  const host = await ProxyHost.make(ownerOf(owner), lab.server);
  const rules = await VddkRules.write(ownerOf(owner), bench.site.labDirectory);
  const tables: Table[] = [];
  for (const latency of LATENCIES_US) {
    await rules.set([`latency_us=${latency}`]);
    const id = `j-${latency / 1000}ms`;
    tables.push({
      id,
      title: `VDDK (stand-in), each call takes ${latency / 1000} ms, sequential reads of 1 MiB`,
      unit: "MB/s",
      subject: VDDK_MOUNT,
      note: "The library's time is part of both: it copies from files in the page cache.",
      series: await alternate(bench, id, [
        mounted(bench, host, rules),
        { name: VDDK_ALONE, run: () => drainLibrary(bench, latency) },
      ]),
    });
  }
  await rules.set([]);
  tables.push({
    id: "j-hop",
    title: "from a file through NBD to nowhere: user and system time of server and client for 10^9 bytes",
    unit: "s",
    series: await alternate(bench, "j-hop", [
      { name: VDDK_HOP, run: (runOwner) => drainHost(bench, runOwner, rules) },
      { name: NBDKIT_HOP, run: (runOwner) => drainNbdkit(bench, runOwner) },
    ]),
  });
  return tables;
}

function mounted(bench: Workbench, host: ProxyHost, rules: VddkRules): Entrant {
  const { site, options, signal } = bench;
  return {
    name: VDDK_MOUNT,
    run: async (owner) => {
      const env = await standInEnvironment(rules);
      const started = await mountMachine(owner, host, { locator: `/dc1/${site.dense}`, env });
      const reading = { bytes: options.diskBytes, access: "buffered", limitMs: options.readLimitMs, signal } as const;
      const sample = await rateAndCost(started.pids, () => readSequentially(started.path, reading));
      await mustEqual(started, site.local.flat, options.diskBytes);
      return sample;
    },
  };
}
