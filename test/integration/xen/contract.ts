import { open } from "node:fs/promises";
import t from "tap";
import { MIB } from "../../../src/units.js";
import { hypervisorContract } from "../../fixtures/contract/hypervisor.js";
import { scratch } from "../../fixtures/scratch.js";
import { connectToPool } from "../../fixtures/xen/connect-to-pool.js";
import { testPool } from "../../fixtures/xen/lab-pool.js";

for (const profile of ["7.1", "8.2", "8.3"] as const) {
  void t.test(`a pool of ${profile} is a hypervisor like any other`, async (t) => {
    const pool = await testPool(t, { profile });
    const { lab } = pool;
    const vm = lab.vm("web01");
    const [disk] = vm.disks;
    const before = lab.counts();
    await hypervisorContract(t, {
      connect: () => connectToPool(pool),
      connectWithWrongPassword: () => connectToPool(pool, { password: "wrong" }),
      vm: {
        name: "web01",
        path: "/web01",
        instanceUuid: vm.uuid,
        biosUuid: vm.uuid,
        configPath: undefined,
        address: "10.20.30.11",
        configFiles: ["ova.xml"],
        configText: new RegExp(`^<value><struct>.*<name>uuid</name><value>${vm.uuid}</value>`, "s"),
        diskNode: "xvda",
        diskSize: disk?.bytes ?? 0,
      },
      vmCount: 3,
      // A snapshot's disk is a copy: what it holds is written there.
      writeDisk: async (content) => {
        const { database, store } = lab.pool;
        const frozen = database.where("VDI", "snapshot_of", disk?.ref ?? "");
        for (const ref of frozen) await writeSparse(store.path(ref), content);
      },
      // 7.1 has no NBD.
      ...(profile === "7.1" && { opening: { transport: "http", spoolDirectory: scratch(t) } }),
      knowsAllocation: true,
      importsArchives: true,
      expireSessions: () => {
        lab.expireSessions();
        return Promise.resolve();
      },
    });
    t.match(lab.counts(), { VM: before["VM"], VDI: before["VDI"], VBD: before["VBD"], session: 0 });
  });
}

async function writeSparse(path: string, content: Uint8Array): Promise<void> {
  await using file = await open(path, "r+");
  await file.truncate(0);
  await file.truncate(content.length);
  for (let at = 0; at < content.length; at += MIB) {
    const block = content.subarray(at, at + MIB);
    if (block.some((byte) => byte !== 0)) await file.write(block, 0, block.length, at);
  }
}
