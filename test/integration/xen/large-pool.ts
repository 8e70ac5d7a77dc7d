import { randomUUID } from "node:crypto";
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import t from "tap";
import { silentLogger } from "../../../src/log.js";
import type { LabPool } from "../../../src/lab/xen/lab-pool.js";
import { startLabPool } from "../../../src/lab/xen/lab-pool.js";
import { POOL_CONFIG_NAME, type PoolConfigInput } from "../../../src/lab/xen/pool-config.js";
import { MIB } from "../../../src/units.js";
import { ProxyHost } from "../../fixtures/host/proxy-host.js";
import { poolDirectory } from "../../fixtures/xen/lab-pool.js";

const DISKS = 4;
const HOSTS = 2;
/** Looked at beside the command, which may have ended before all of it was asked; never more often than once a host. */
const OF_HOSTS = ["host.get_all_records", "host_metrics.get_all_records", "host.get_server_certificate"];

/** A pool with so many more running machines of four disks each; nobody reads the disks, so that they have no images. */
async function poolWith(machines: number): Promise<{ readonly lab: LabPool; readonly host: ProxyHost }> {
  const directory = await poolDirectory(t);
  const path = join(directory, POOL_CONFIG_NAME);
  const config = JSON.parse(await readFile(path, "utf8")) as PoolConfigInput;
  const disk = () => ({ uuid: randomUUID(), name: "Disk", storage: "NFS", bytes: MIB });
  const machine = (_: unknown, index: number) => ({
    uuid: randomUUID(),
    name: `vm${String(index).padStart(3, "0")}`,
    power: "Running" as const,
    host: index % 2,
    ip: `10.30.0.${index}`,
    disks: Array.from({ length: DISKS }, disk),
  });
  const more = Array.from({ length: machines }, machine);
  await writeFile(path, JSON.stringify({ ...config, machines: [...(config.machines ?? []), ...more] }));
  const listen = { host: "127.0.0.1", port: 0 };
  const lab = await startLabPool({ directory, listen, logger: silentLogger() });
  t.teardown(() => lab.close());
  return { lab, host: await ProxyHost.make(t, lab) };
}

/** Calls to the pool by method, and the names that are listed. */
async function listed(
  machines: number,
): Promise<{ readonly calls: ReadonlyMap<string, number>; readonly names: readonly string[] }> {
  const { lab, host } = await poolWith(machines);
  lab.traffic.reset();
  const began = performance.now();
  const { entries } = await host.json<{ entries: { name: string }[] }>(["ls"]);
  t.comment(`ls of ${entries.length} VMs: ${Math.round(performance.now() - began)} ms`);
  return { calls: new Map(Object.entries(lab.traffic.report().methods)), names: entries.map(({ name }) => name) };
}

void t.test("ls of a pool of 100 VMs with four disks each makes the calls that it makes for one VM", async (t) => {
  const [one, many] = [await listed(1), await listed(100)];
  t.equal(many.names.length, one.names.length + 99);
  t.ok(many.names.includes("vm099"));
  for (const method of OF_HOSTS) t.ok((many.calls.get(method) ?? 0) <= HOSTS, method);
  const ofCommand = (calls: ReadonlyMap<string, number>): unknown =>
    Object.fromEntries([...calls].filter(([method]) => !OF_HOSTS.includes(method)));
  t.same(ofCommand(many.calls), ofCommand(one.calls));
  t.match(ofCommand(many.calls), { "VM.get_all_records": 1, "VM_guest_metrics.get_all_records": 1 });
});
