import { rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { access, constants } from "node:fs/promises";
import { CleanupStack } from "../../../src/cleanup.js";
import type { LabProcess } from "../../fixtures/host/lab-process.js";
import { ProxyHost } from "../../fixtures/host/proxy-host.js";
import type { Sample } from "../contender.js";
import { startLabProcess } from "../lab-address.js";
import { mountMachine } from "../peers/vmmount.js";
import { peakRssBytes } from "../process-cost.js";
import { mustRun } from "../programs.js";
import { readSequentially } from "../sequential-read.js";
import { alternate, type Entrant, type Series, type Table } from "../table.js";
import { ownerOf, type Workbench } from "../workbench.js";

export const PLAIN_READ = "dd of the plain disk";
export const PLAIN_COPY = "cp of the plain disk";
export const SPARSE_CP = "cp --sparse=always of the thin disk";
export const SPARSE_TAR = "tar -S of the thin disk";

/** Case g: a thin disk that is mostly hole, against a plain disk with as much data in the same mount. */
export async function thinDisk(bench: Workbench): Promise<Table[]> {
  await using owner = new CleanupStack();
  const lab = await startLabProcess(bench, owner);
  const host = await ProxyHost.make(ownerOf(owner), lab.server);
  const target = join(await copyFolder(), `vmm-bench-copy-${process.pid}`);
  owner.add("remove the copy", () => rm(target, { force: true }));
  const sent = new Map<string, Sample[]>();
  const entrant = (name: string, read: (thin: string, plain: string) => Promise<number>): Entrant => ({
    name,
    run: async (runOwner) => {
      const { mountPoint, pids } = await mountMachine(runOwner, host, { locator: `/dc1/${bench.site.thin}` });
      const before = await bytesSent(lab);
      const seconds = await read(join(mountPoint, "scsi0-0-flat.vmdk"), join(mountPoint, "scsi0-1-flat.vmdk"));
      sent.set(name, [...(sent.get(name) ?? []), { value: (await bytesSent(lab)) - before }]);
      await rm(target, { force: true });
      return { value: seconds, peakRssBytes: await peakRssBytes(pids) };
    },
  });
  const { options, signal } = bench;
  const program = async (command: string, args: readonly string[]): Promise<number> =>
    (await mustRun(command, args, { signal })).seconds;
  const reading = { bytes: options.thinDataBytes, access: "buffered", limitMs: options.readLimitMs, signal } as const;
  const series = await alternate(bench, "g", [
    entrant(SPARSE_CP, (thin) => program("cp", ["--sparse=always", thin, target])),
    entrant(SPARSE_TAR, (thin) => program("tar", ["-C", join(thin, ".."), "-Scf", target, "scsi0-0-flat.vmdk"])),
    entrant(PLAIN_COPY, (_, plain) => program("cp", ["--sparse=never", plain, target])),
    entrant(PLAIN_READ, async (_, plain) => (await readSequentially(plain, reading)).seconds),
  ]);
  const traffic: Series[] = series.map(({ name, error }) => ({ name, error, samples: sent.get(name) ?? [] }));
  const size = `${options.thinBytes / 1024 ** 3} GiB thin disk with ${options.thinDataBytes / 1024 ** 2} MiB of data`;
  return [
    { id: "g", title: `${size}, copied to ${target.replace(/\/[^/]*$/, "")}: time`, unit: "s", series },
    { id: "g-bytes", title: `${size}: bytes that the server sent meanwhile`, unit: "bytes", series: traffic },
  ];
}

/** Memory where there is some: the time of the disk that a copy goes to is not vmmount's. */
async function copyFolder(): Promise<string> {
  return access("/dev/shm", constants.W_OK).then(
    () => "/dev/shm",
    () => tmpdir(),
  );
}

async function bytesSent(lab: LabProcess): Promise<number> {
  const { files } = await lab.traffic();
  return Object.values(files).reduce((sum, file) => sum + file.bytesSent, 0);
}
