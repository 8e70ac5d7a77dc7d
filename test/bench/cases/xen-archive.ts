import { readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { CleanupStack } from "../../../src/cleanup.js";
import { initLabPool } from "../../../src/lab/xen/init-pool.js";
import { POOL_CONFIG_NAME, type PoolConfigInput } from "../../../src/lab/xen/pool-config.js";
import { LabProcess } from "../../fixtures/host/lab-process.js";
import { ProxyHost } from "../../fixtures/host/proxy-host.js";
import { SMALL_POOL } from "../../fixtures/xen/lab-pool.js";
import { MEGA } from "../measure.js";
import { makeNoiseFile } from "../noise.js";
import { mountMachine } from "../peers/vmmount.js";
import { readSequentially } from "../sequential-read.js";
import { CAP_BYTES_PER_SECOND } from "./https.js";
import { alternate, type Entrant, type Table } from "../table.js";
import { ownerOf, type Workbench } from "../workbench.js";

export const RAW_DISK = "the raw disk";
export const ARCHIVES = { sha1: "the .xva with SHA-1", xxhash: "the .xva with XXH64" } as const;
/** What a network between pool and proxy carries: on this machine, the two share the processors as well. */
const LINE = { kind: "bandwidth", bytesPerSecond: CAP_BYTES_PER_SECOND, scope: "line" } as const;
/** How hosts give disks: in any order, or copied here before the mount is ready. */
export const XEN_WAYS = [
  { id: "nbd", transport: "nbd", text: "over nbd", rules: [] },
  {
    id: "line",
    transport: "nbd",
    text: "over nbd and a line of 125 MB/s",
    rules: [{ match: { method: "NBD.read" }, action: LINE }],
  },
  { id: "http", transport: "http", text: "over http", rules: [] },
] as const;
const VM = "cold01";

/** Case k: a VM of Xen read as one archive, which is made and hashed meanwhile, against its only disk, which is full. */
export async function xenArchive(bench: Workbench): Promise<Table[]> {
  await using owner = new CleanupStack();
  const { options, signal } = bench;
  const lab = await LabProcess.start(ownerOf(owner), await makePool(bench));
  const host = await ProxyHost.make(ownerOf(owner), lab.server);
  const reading = { bytes: options.diskBytes, access: "buffered", limitMs: options.readLimitMs, signal } as const;
  const entrant = (transport: string, name: string, file: string, checksum: string): Entrant => ({
    name,
    run: async (runOwner) => {
      const env = { VMMOUNT_TRANSPORT: transport, VMMOUNT_XVA_CHECKSUM: checksum };
      const { mountPoint } = await mountMachine(runOwner, host, { locator: `/${VM}`, env });
      const { bytes, seconds } = await readSequentially(join(mountPoint, file), reading);
      return { value: bytes / MEGA / seconds };
    },
  });
  const tables: Table[] = [];
  for (const { id, transport, text, rules } of XEN_WAYS) {
    await lab.load({ rules: [...rules] });
    const series = await alternate(bench, `k-${id}`, [
      entrant(transport, RAW_DISK, "xvda.raw", "sha1"),
      entrant(transport, ARCHIVES.sha1, `${VM}.xva`, "sha1"),
      entrant(transport, ARCHIVES.xxhash, `${VM}.xva`, "xxhash"),
    ]);
    const title = `a Xen VM of one full disk ${text}, read from end to end`;
    tables.push({ id: `k-${id}`, title, unit: "MB/s", series });
  }
  return tables;
}

/** The stand-in pool, with a halted machine whose one disk is full of noise. */
async function makePool(bench: Workbench): Promise<string> {
  const directory = await bench.folder("pool");
  await initLabPool(directory, SMALL_POOL);
  const path = join(directory, POOL_CONFIG_NAME);
  const config = JSON.parse(await readFile(path, "utf8")) as PoolConfigInput;
  const size = bench.options.diskBytes;
  const machines = (config.machines ?? []).map((machine) =>
    machine.name === VM
      ? { ...machine, disks: (machine.disks ?? []).map((disk) => ({ ...disk, bytes: size })) }
      : machine,
  );
  await writeFile(path, JSON.stringify({ ...config, machines }));
  const uuid = machines.find(({ name }) => name === VM)?.disks?.[0]?.uuid ?? "";
  const image = join(directory, "SR", "nfs", `${uuid}.raw`);
  await rm(image);
  await makeNoiseFile(image, size, [{ start: 0, length: size }], "xen");
  return directory;
}
