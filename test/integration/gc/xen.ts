import t from "tap";
import { snapshotName } from "../../../src/snapshot/ownership.js";
import { GarbageSite } from "../../fixtures/gc/garbage-site.js";
import { endsDeadSessions, givesUpOnSilence, judgesByMarks, tellsOfServers } from "../../fixtures/gc/laws.js";
import { connectToPool } from "../../fixtures/xen/connect-to-pool.js";
import { testPool } from "../../fixtures/xen/lab-pool.js";

/** What `vmmount gc` does with one pool; the subtests follow each other. */
const pool = await testPool(t, { profile: "8.2" });
const { lab } = pool;
const { database } = lab.pool;
const vm = lab.vm("cold01");
const stranger = await connectToPool(pool);
t.teardown(() => stranger[Symbol.asyncDispose]());
const site = await GarbageSite.make(t, {
  access: lab,
  stranger,
  vm: { ref: vm.uuid, name: vm.name, path: `/${vm.name}` },
  snapshots: () => vm.snapshots.map((ref) => database.text("VM", ref, "name_label")),
  breakRemovals: () => {
    const action = { kind: "fault", name: "SR_BACKEND_FAILURE_40", where: "task" } as const;
    return lab.rules.add({ match: { method: "VM.destroy" }, action });
  },
});
const before = lab.counts();

await t.test("snapshots on the server are judged by their marks", async (t) => {
  await judgesByMarks(t, site);
});

await t.test("a dead session of the journal: kept while it cannot be cleaned up, then gone", (t) =>
  endsDeadSessions(t, site),
);

/** Cuts the removal of a new snapshot in the middle. @returns references of the disks that are left */
async function halfRemoved(session: string): Promise<string[]> {
  const ref = await site.plant(session);
  const undo = lab.rules.add({
    match: { method: "VDI.destroy" },
    action: { kind: "fault", name: "SR_BACKEND_FAILURE_46" },
  });
  await t.rejects(stranger.removeSnapshot(ref, { signal: new AbortController().signal }));
  undo();
  const isMarked = (row: Readonly<Record<string, unknown>>): boolean =>
    JSON.stringify(row["other_config"]).includes(ref);
  return database
    .rows("VDI")
    .filter(([, row]) => isMarked(row))
    .map(([vdi]) => vdi);
}

await t.test("disks of a removal that stopped in the middle, one of them plugged into a host", async (t) => {
  const disks = await halfRemoved("hhhhhhhhhh");
  t.equal(disks.length, 1);
  // As a transfer that died leaves it.
  const [host] = lab.hosts;
  lab.pool.attachments.plug(disks[0] ?? "", host!, "RO");
  const rows = async (dryRun: boolean): Promise<readonly string[]> =>
    (await site.gc({ dryRun })).rows.filter((row) => row.includes("hhhhhhhhhh"));
  t.strictSame(await rows(true), ["vmmount-hhhhhhhhhh dead-local would-remove"]);
  t.strictSame(await rows(false), ["vmmount-hhhhhhhhhh dead-local removed"]);
  t.notOk(database.has("VDI", disks[0] ?? ""));
});

await t.test("a disk that is left of a snapshot, when the VM no longer has the disk that it was made of", async (t) => {
  const [disk = ""] = await halfRemoved("jjjjjjjjjj");
  database.update("VDI", disk, { snapshot_of: "OpaqueRef:NULL" });
  t.ok((await site.gc()).rows.includes("vmmount-jjjjjjjjjj dead-local removed"));
  t.notOk(database.has("VDI", disk));
});

await t.test("nothing but what is nobody's to remove is left", (t) => {
  const left = vm.snapshots.map((ref) => database.text("VM", ref, "name_label"));
  t.strictSame(left, [snapshotName("dddddddddd"), snapshotName("ffffffffff"), "before upgrade"]);
  const each = vm.disks.length;
  const now = lab.counts();
  t.strictSame([now["VM"], now["VDI"]], [(before["VM"] ?? 0) + 3, (before["VDI"] ?? 0) + 3 * each]);
  t.equal(now["task"], before["task"]);
  t.end();
});

await t.test("a server that never answers is given up after the time that a call may take", (t) =>
  givesUpOnSilence(t, site, () => lab.rules.add({ match: { method: "VM.get_all_records" }, action: { kind: "hang" } })),
);

await t.test("a server that cannot be asked is a row", async (t) => {
  await tellsOfServers(t, site, "xen://127.0.0.1:9");
  t.equal(lab.traffic.report().sessions, 1, "all but this test's own have logged out");
});
