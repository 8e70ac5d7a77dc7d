import { setTimeout as delay } from "node:timers/promises";
import t, { type Test } from "tap";
import { errorFacts } from "../../../src/errors.js";
import type { Hypervisor } from "../../../src/hypervisor.js";
import { describeOwnership, isOfSession, snapshotName } from "../../../src/snapshot/ownership.js";
import { parseOva } from "../../../src/xen/xva/ova.js";
import { connectToPool } from "../../fixtures/xen/connect-to-pool.js";
import { testPool } from "../../fixtures/xen/lab-pool.js";
import { PoolClient } from "../../fixtures/xen/pool-client.js";

/** What a death at any moment leaves, and who finds it: one pool for all, left by every subtest as it was. */
const { signal } = new AbortController();
const SESSION = "0123456789";
const mark = { session: SESSION, version: "1", host: "h", mountPoint: "/m", created: new Date(0).toISOString() };
const SPEC = { name: snapshotName(SESSION), description: describeOwnership(mark), quiesce: false };
const pool = await testPool(t, { profile: "8.2" });
const { lab } = pool;
const vm = lab.vm("web01");
const { uuid } = vm;

async function failure(promise: Promise<unknown>): Promise<ReturnType<typeof errorFacts>> {
  return errorFacts(await promise.catch((error: unknown) => error));
}

async function leavingNothing(t: Test, work: (server: Hypervisor) => Promise<void>): Promise<void> {
  const before = { ...lab.counts(), task: 0 };
  {
    await using server = await connectToPool(pool);
    await work(server);
  }
  t.strictSame({ ...lab.counts(), task: 0 }, before, "as many objects of every class as before");
}

/** The n-th call of the method never has an effect, and everything after it fails: as if the process had died. */
function diesAt(method: string, skip = 0): () => number {
  return lab.rules.add({ match: { method }, skip, action: { kind: "drop", when: "before" } });
}

await t.test("disks of a snapshot whose record is gone are found by another run, and removed", async (t) => {
  await leavingNothing(t, async (server) => {
    const { VDI = 0, VM = 0 } = lab.counts();
    const snapshot = await server.createSnapshot(uuid, SPEC, { signal });
    const revive = diesAt("VDI.destroy", 1);
    t.match(await failure(server.removeSnapshot(snapshot.ref, { signal })), { retryable: true });
    revive();
    t.strictSame([lab.counts()["VM"], lab.counts()["VDI"]], [VM, VDI + 1], "one disk is left of it");

    await using other = await connectToPool(pool);
    const [half] = await other.listSnapshots(uuid, { signal });
    t.strictSame({ ...half, createdAt: 0 }, { ...snapshot, createdAt: 0 }, "it is listed as it was");
    t.ok(isOfSession(half!, SESSION));
    await other.removeSnapshot(half!.ref, { signal });
    t.strictSame(await other.listSnapshots(uuid, { signal }), []);
    await other.removeSnapshot(half!.ref, { signal });
    t.pass("what is gone is success");
  });
});

await t.test("a snapshot of a VM that was made a template meanwhile is found, and removed", async (t) => {
  await leavingNothing(t, async (server) => {
    const { ref } = await server.createSnapshot(uuid, SPEC, { signal });
    const [row = ""] = lab.pool.database.rows("VM").find(([, one]) => one["uuid"] === uuid) ?? [];
    lab.pool.database.update("VM", row, { is_a_template: true });
    try {
      t.match(
        await server.findVms({ kind: "any" }, { signal }).then((all) => all.filter((one) => one.ref === uuid)),
        [],
      );
      const found = (await server.listOrphans({ signal })).filter((one) => isOfSession(one, SESSION));
      t.match(found, [{ ref }], "no look at a VM shows it");
    } finally {
      lab.pool.database.update("VM", row, { is_a_template: false });
      await server.removeSnapshot(ref, { signal });
    }
  });
});

await t.test("a disk that is left is found also when the VM no longer has the disk that it was made of", async (t) => {
  await using server = await connectToPool(pool);
  const snapshot = await server.createSnapshot(uuid, SPEC, { signal });
  const revive = diesAt("VDI.destroy", 1);
  await failure(server.removeSnapshot(snapshot.ref, { signal }));
  revive();
  const { database } = lab.pool;
  const [vdi] = database.rows("VDI").filter(([, row]) => JSON.stringify(row["other_config"]).includes(snapshot.ref));
  database.update("VDI", vdi![0], { snapshot_of: "OpaqueRef:NULL" });
  t.strictSame(await server.listSnapshots(uuid, { signal }), [], "a quick look does not see it");
  await server.settleSnapshots(uuid, { signal });
  t.match(await server.listSnapshots(uuid, { signal }), [{ ref: snapshot.ref }], "whoever cleans up looks everywhere");
  await server.removeSnapshot(snapshot.ref, { signal });
  t.strictSame(await server.listSnapshots(uuid, { signal }), []);
});

await t.test("a disk of a VM that has a copy of the mark is no part of the snapshot", async (t) => {
  await leavingNothing(t, async (server) => {
    const snapshot = await server.createSnapshot(uuid, SPEC, { signal });
    const revive = diesAt("VDI.destroy", 1);
    await failure(server.removeSnapshot(snapshot.ref, { signal }));
    revive();
    const { database } = lab.pool;
    const [, left] = database
      .rows("VDI")
      .find(([, row]) => JSON.stringify(row["other_config"]).includes(snapshot.ref))!;
    const [live, row] = database
      .rows("VDI")
      .find(([, one]) => one["is_a_snapshot"] !== true && one["type"] === "user")!;
    const before = row["other_config"]!;
    database.update("VDI", live, { other_config: left["other_config"]! });
    await server.removeSnapshot(snapshot.ref, { signal });
    t.strictSame(await server.listSnapshots(uuid, { signal }), []);
    t.ok(database.rows("VDI").some(([ref]) => ref === live));
    database.update("VDI", live, { other_config: before });
  });
});

await t.test("a clone of a disk that was being removed inherits its mark, and is nobody's to remove", async (t) => {
  await leavingNothing(t, async (server) => {
    const snapshot = await server.createSnapshot(uuid, SPEC, { signal });
    const revive = diesAt("VDI.destroy");
    await failure(server.removeSnapshot(snapshot.ref, { signal }));
    revive();
    const { database } = lab.pool;
    const isMarked = (row: unknown): boolean => JSON.stringify(row).includes(snapshot.ref);
    const [marked] = database.rows("VDI").filter(([, row]) => isMarked(row["other_config"]));
    const client = await PoolClient.login(lab);
    const clone = (await client.call("VDI.clone", marked![0], {})) as string;
    t.ok(isMarked(database.row("VDI", clone)["other_config"]));
    await server.removeSnapshot(snapshot.ref, { signal });
    await server.settleSnapshots(uuid, { signal });
    t.strictSame(await server.listSnapshots(uuid, { signal }), []);
    t.ok(database.has("VDI", clone), "it is still there");
    await client.call("VDI.destroy", clone);
    await client.call("session.logout");
  });
});

await t.test("a disk that cannot be removed does not keep the others", async (t) => {
  await leavingNothing(t, async (server) => {
    const { VDI = 0 } = lab.counts();
    const snapshot = await server.createSnapshot(uuid, SPEC, { signal });
    t.equal(lab.counts()["VDI"], VDI + 2);
    const action = { kind: "fault" as const, name: "SR_BACKEND_FAILURE_46", parameters: ["", "x", ""] };
    const broken = lab.rules.add({ match: { method: "VDI.destroy" }, count: 1, action: { ...action, where: "task" } });
    t.match(await failure(server.removeSnapshot(snapshot.ref, { signal })), { retryable: true });
    broken();
    t.equal(lab.counts()["VDI"], VDI + 1);
    await server.removeSnapshot(snapshot.ref, { signal });
  });
});

await t.test("a snapshot that got its name but not its mark is the session's", async (t) => {
  await leavingNothing(t, async (server) => {
    const revive = diesAt("VM.set_name_description");
    t.match(await failure(server.createSnapshot(uuid, SPEC, { signal })), { retryable: true });
    revive();
    await using other = await connectToPool(pool);
    const [found] = await other.listSnapshots(uuid, { signal });
    t.match(found, { name: SPEC.name, lacksDescription: true });
    t.ok(isOfSession(found!, SESSION));
    t.notOk(isOfSession(found!, "9876543210"));
    await other.removeSnapshot(found!.ref, { signal });
  });
});

await t.test("disks of a snapshot that never got its mark are the session's as well", async (t) => {
  await leavingNothing(t, async (server) => {
    const revive = [diesAt("VM.set_name_description"), diesAt("VDI.destroy")];
    t.match(await failure(server.createSnapshot(uuid, SPEC, { signal })), { retryable: true });
    const [found] = await server.listSnapshots(uuid, { signal });
    t.match(await failure(server.removeSnapshot(found!.ref, { signal })), { retryable: true });
    for (const one of revive) one();
    await using other = await connectToPool(pool);
    const [half] = await other.listSnapshots(uuid, { signal });
    t.strictSame({ ...half, createdAt: 0 }, { ...found, createdAt: 0 }, "listed as it was");
    t.ok(isOfSession(half!, SESSION));
    t.notOk(isOfSession(half!, "9876543210"));
    await other.removeSnapshot(half!.ref, { signal });
  });
});

await t.test("only snapshots are removed", async (t) => {
  await leavingNothing(t, async (server) => {
    t.match(await failure(server.removeSnapshot(uuid, { signal })), {
      kind: "RefusedError",
      message: /is no snapshot/,
    });
    await server.removeSnapshot("00000000-0000-0000-0000-000000000001", { signal });
    t.equal(vm.disks.length, 2);
  });
});

await t.test("with memory: the guest goes on, and its memory goes with the snapshot", async (t) => {
  await leavingNothing(t, async (server) => {
    const snapshot = await server.createSnapshot(uuid, { ...SPEC, memory: true }, { signal });
    t.equal(vm.power, "Running");
    await server.removeSnapshot(snapshot.ref, { signal });
  });
});

await t.test("offline: the guest runs again, whether the snapshot came about or not", async (t) => {
  await leavingNothing(t, async (server) => {
    const snapshot = await server.createSnapshot(uuid, { ...SPEC, offline: true }, { signal });
    t.equal(vm.power, "Running");
    const [, row] = lab.pool.database.rows("VM").find(([, one]) => one["uuid"] === snapshot.ref)!;
    t.notMatch(JSON.stringify(row["other_config"]), /start-again/, "a VM that is made of it stays down");
    await server.removeSnapshot(snapshot.ref, { signal });
    const action = { kind: "fault" as const, name: "SR_FULL", parameters: ["1", "0"], where: "task" as const };
    const full = lab.rules.add({ match: { method: "VM.snapshot" }, action });
    t.match(await failure(server.createSnapshot(uuid, { ...SPEC, offline: true }, { signal })), {
      kind: "SnapshotError",
    });
    full();
    t.equal(vm.power, "Running");
    const both = { ...SPEC, offline: true, memory: true };
    t.match(await failure(server.createSnapshot(uuid, both, { signal })), { kind: "RefusedError" });
  });
});

await t.test("offline: who finds the guest down after somebody's death starts it again", async (t) => {
  await leavingNothing(t, async (server) => {
    const revive = diesAt("VM.start");
    const facts = await failure(server.createSnapshot(uuid, { ...SPEC, offline: true }, { signal }));
    t.match(facts, { kind: "SnapshotError", hint: /xe vm-start/ });
    t.equal(vm.power, "Halted");
    // A clock that was set back since.
    const { database } = lab.pool;
    const row = database.row("VM", vm.ref)["other_config"] as Readonly<Record<string, string>>;
    const note = { "vmmount-start-again": `${new Date(Date.now() + 3_600_000).toISOString()} ${uuid}` };
    database.update("VM", vm.ref, { other_config: { ...row, ...note } });
    revive();
    await using other = await connectToPool(pool);
    await other.settleSnapshots(uuid, { signal });
    t.equal(vm.power, "Running");
    for (const { ref } of await other.listSnapshots(uuid, { signal })) await other.removeSnapshot(ref, { signal });
  });
});

await t.test("offline: a guest that cannot be started again does not keep its snapshot", async (t) => {
  await leavingNothing(t, async (server) => {
    const action = { kind: "fault" as const, name: "NO_HOSTS_AVAILABLE", parameters: [], where: "task" as const };
    const full = lab.rules.add({ match: { method: "VM.start" }, action });
    const facts = await failure(server.createSnapshot(uuid, { ...SPEC, offline: true }, { signal }));
    t.match(facts, { kind: "SnapshotError", hint: /xe vm-start/ });
    await server.settleSnapshots(uuid, { signal });
    const [left] = await server.listSnapshots(uuid, { signal });
    await server.removeSnapshot(left!.ref, { signal });
    t.equal(vm.power, "Halted");
    full();
    await server.settleSnapshots(uuid, { signal });
    t.equal(vm.power, "Running", "whoever cleans up next tries again");
  });
});

await t.test("offline: a guest that somebody starts in between has no offline snapshot", async (t) => {
  await leavingNothing(t, async (server) => {
    const client = await PoolClient.login(lab);
    const slow = lab.rules.add({ match: { method: "VM.set_name_description" }, action: { kind: "delay", ms: 1500 } });
    const creating = failure(server.createSnapshot(uuid, { ...SPEC, offline: true }, { signal }));
    while (vm.snapshots.length === 0) await delay(20);
    await delay(500);
    await client.call("VM.start", vm.ref, false, false);
    t.match(await creating, { kind: "SnapshotError", message: /started meanwhile/ });
    slow();
    t.equal(vm.power, "Running");
    for (const { ref } of await server.listSnapshots(uuid, { signal })) await server.removeSnapshot(ref, { signal });
    await client.call("session.logout");
  });
});

await t.test("offline: what was restored from such a snapshot inherits the note, and is not started", async (t) => {
  await leavingNothing(t, async (server) => {
    const copy = lab.vm("cold01");
    const { database } = lab.pool;
    const before = database.row("VM", copy.ref)["other_config"] as Readonly<Record<string, string>>;
    const note = { "vmmount-start-again": `${new Date().toISOString()} ${uuid}` };
    database.update("VM", copy.ref, { other_config: { ...before, ...note } });
    await server.settleSnapshots(copy.uuid, { signal });
    t.equal(copy.power, "Halted");
    database.update("VM", copy.ref, { other_config: before });
  });
});

await t.test("ova.xml holds the records of the snapshot that is asked for", async (t) => {
  await leavingNothing(t, async (server) => {
    const snapshot = await server.createSnapshot(uuid, SPEC, { signal });
    const uuidsIn = async (ref: string | undefined): Promise<(string | undefined)[]> => {
      const [file] = await server.readConfig(uuid, { signal, snapshot: ref });
      t.equal(file?.name, "ova.xml");
      const { objects } = parseOva(file?.bytes ?? new Uint8Array());
      return objects.filter((one) => one.class === "VM").map(({ record }) => textIn(record, "uuid"));
    };
    t.ok((await uuidsIn(snapshot.ref)).includes(snapshot.ref));
    t.strictSame(await uuidsIn(undefined), [uuid]);
    await server.removeSnapshot(snapshot.ref, { signal });
  });
});

function textIn(record: ReturnType<typeof parseOva>["objects"][number]["record"], name: string): string | undefined {
  const value = record.members.get(name);
  return value?.kind === "scalar" ? value.text : undefined;
}
