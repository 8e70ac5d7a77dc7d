import { join } from "node:path";
import { CleanupStack } from "../../../src/cleanup.js";
import { MIB } from "../../../src/units.js";
import { ProxyHost } from "../../fixtures/host/proxy-host.js";
import { MEGA } from "../measure.js";
import { mountMachine } from "../peers/vmmount.js";
import { peakRssBytes } from "../process-cost.js";
import type { Sample } from "../contender.js";
import { startLabProcess } from "../lab-address.js";
import { readSequentially } from "../sequential-read.js";
import { alternate, type Table } from "../table.js";
import { ownerOf, type Workbench } from "../workbench.js";

/** Case i: as many mounts at once as a backup window has. */
export async function manyMounts(bench: Workbench): Promise<Table[]> {
  await using owner = new CleanupStack();
  const lab = await startLabProcess(bench, owner);
  const host = await ProxyHost.make(ownerOf(owner), lab.server);
  const { options, site, signal } = bench;
  const ready: Sample[] = [];
  const unmounted: Sample[] = [];
  const memory: Sample[] = [];
  const names = site.small;
  const series = await alternate(bench, "i", [
    {
      name: `${names.length} mounts, all read at once`,
      run: async (runOwner) => {
        const mounts = runOwner.use("unmount all", new CleanupStack());
        const mounting = performance.now();
        const started = await allDone(
          names.map((name) => mountMachine(mounts, host, { locator: `/dc1/${name}` }, join(host.directory, name))),
        );
        ready.push({ value: (performance.now() - mounting) / 1000 });
        const pids = await host.daemons();
        const reading = {
          bytes: options.smallDiskBytes,
          access: "buffered",
          limitMs: options.readLimitMs,
          signal,
        } as const;
        const began = performance.now();
        const reads = await allDone(started.map(({ path }) => readSequentially(path, reading)));
        const seconds = (performance.now() - began) / 1000;
        const peaks = await Promise.all(pids.map((pid) => peakRssBytes([pid])));
        for (const peak of peaks) memory.push({ value: peak / MIB });
        const unmounting = performance.now();
        const points = started.map(({ mountPoint }) => mountPoint);
        const ended = await Promise.all(points.map((point) => host.vmmount(["umount", point])));
        unmounted.push({ value: (performance.now() - unmounting) / 1000 });
        const failed = ended.find(({ code }) => code !== 0);
        // What is left is ended by force with the host's folder.
        if (failed === undefined) mounts.keep();
        else throw new Error(failed.stderr.trim());
        const bytes = reads.reduce((sum, read) => sum + read.bytes, 0);
        return { value: bytes / MEGA / seconds, peakRssBytes: Math.max(...peaks) };
      },
    },
  ]);
  const one = (name: string, samples: Sample[]) => ({ name, samples, error: series[0]?.error });
  const disks = `${options.smallDiskBytes / MIB} MiB each`;
  return [
    {
      id: "i",
      title: `${names.length} mounts at once, ${disks}: all read to their end, together`,
      unit: "MB/s",
      series,
    },
    {
      id: "i-time",
      title: `${names.length} mounts at once: time`,
      unit: "s",
      series: [one("until all are ready", ready), one("until all are unmounted and their snapshots gone", unmounted)],
    },
    {
      id: "i-memory",
      title: "peak memory of each of their daemons",
      unit: "MiB",
      series: [one("each daemon", memory)],
    },
  ];
}

/** Waits for all, so that a failed one does not leave others on their way. @throws what the first has thrown */
async function allDone<T>(promises: readonly Promise<T>[]): Promise<T[]> {
  await Promise.allSettled(promises);
  return Promise.all(promises);
}
