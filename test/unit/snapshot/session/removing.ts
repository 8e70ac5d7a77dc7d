import t from "tap";
import { HypervisorFaultError } from "../../../../src/errors.js";
import { planRecovery, removeUsedSnapshot } from "../../../../src/snapshot/recovery.js";
import { memoryVm, MemoryServer } from "../../../fixtures/memory-hypervisor.js";
import { recordingLogger } from "../../../fixtures/recording-logger.js";
import { sessionFacts } from "../../../fixtures/snapshot-facts.js";
import { lost, on } from "../../../fixtures/snapshot-faults.js";
import { failureOf, NAME, SESSION, stage } from "../../../fixtures/snapshot-session.js";

const { signal } = new AbortController();

void t.test("a removal is repeated until it succeeds, also when it was the answer that was lost", async (t) => {
  for (const when of ["before", "after"] as const) {
    const { session, server, left, events, lines } = await stage();
    await session.create(signal);
    server.break(...[1, 2, 3].map((call) => on("removeSnapshot", call, when)));
    await session.remove();
    t.strictSame(left(), []);
    t.equal(events().at(-1), "removed");
    t.equal(lines.length, 3);
  }
});

void t.test("a removal that fails for good is a leftover that the journal keeps", async (t) => {
  const denied = (): HypervisorFaultError => new HypervisorFaultError("The disk is full", { fault: "NoDiskSpace" });
  for (const [error, calls] of [
    [lost, 4],
    [denied, 1],
  ] as const) {
    const { session, server, left, events, journals } = await stage();
    await session.create(signal);
    server.break(on("removeSnapshot", undefined, "before", error));
    t.match(await failureOf(session.remove()), { name: "LeftoverError", message: /snapshot-1\) could not be removed/ });
    t.equal(server.calls.length, calls);
    t.strictSame(left(), [NAME]);
    t.equal(events().at(-1), "leftover");
    t.equal(planRecovery(journals.records(SESSION)).action, "remove-snapshot");
  }
});

void t.test("a removal that never ends is given up", async (t) => {
  const { session, server } = await stage({ removeTimeoutMs: 30 });
  await session.create(signal);
  server.break({ method: "removeSnapshot", call: undefined, when: "hang" });
  t.match(await failureOf(session.remove()), { name: "LeftoverError", message: /took longer than 0.03 s/ });
});

void t.test("a snapshot that somebody else removed is gone all right", async (t) => {
  const { session, vm, left } = await stage();
  await session.create(signal);
  vm.snapshots.clear();
  await session.remove();
  t.equal(session.state.name, "removed");
  t.strictSame(left(), []);
});

/** As when its host was taken out of vCenter and added again: the VM and its snapshots have new ids. */
function registerAgain(server: MemoryServer): void {
  const again = memoryVm({ ref: "vm-99" });
  const [before] = server.vms.splice(0, 1, again);
  for (const [ref, { snapshot, ...rest }] of before?.snapshots ?? []) {
    const moved = `${ref}-moved`;
    again.snapshots.set(moved, { ...rest, snapshot: { ...snapshot, ref: moved } });
  }
}

void t.test("a VM that was registered again during the mount keeps nothing of it", async (t) => {
  const { session, server, events } = await stage();
  await session.create(signal);
  registerAgain(server);
  await session.remove();
  t.strictSame([...server.vms[0]!.snapshots.keys()], []);
  t.equal(events().at(-1), "removed");
});

void t.test("a snapshot to be deleted whose VM was registered again is a leftover: it may be a copy's", async (t) => {
  const server = new MemoryServer();
  const used = server.takeSnapshot(server.vms[0]!, { name: "_VCB-BACKUP_", description: "", quiesce: false });
  const { session, hypervisor, events } = await stage({ policy: "deleteonly" }, server);
  await session.obtain(signal);
  await session.served(1);
  registerAgain(server);
  const says = /Snapshot "_VCB-BACKUP_" has another id now, snapshot-1-moved in place of snapshot-1/;
  t.match(await failureOf(session.remove()), { name: "LeftoverError", message: says });
  t.equal(events().at(-1), "leftover");
  const what = { snapshot: used.ref, name: used.name, createdAt: used.createdAt.toISOString() };
  const options = { signal, logger: recordingLogger().logger, unprovable: "keep" } as const;
  const again = removeUsedSnapshot(what, sessionFacts({ policy: "deleteonly" }), hypervisor, options);
  t.match(await failureOf(again), { name: "RefusedError", message: says });
  t.equal(server.vms[0]!.snapshots.size, 1);
});

void t.test("a snapshot that has the id of ours is not touched", async (t) => {
  const { session, server, hypervisor, vm, left, events } = await stage();
  const { snapshot } = await session.create(signal);
  await hypervisor.removeSnapshot(snapshot.ref, { signal });
  const { ref } = server.takeSnapshot(vm, { name: "before upgrade", description: "", quiesce: false });
  const theirs = vm.snapshots.get(ref)!;
  vm.snapshots.delete(ref);
  vm.snapshots.set(snapshot.ref, { ...theirs, snapshot: { ...theirs.snapshot, ref: snapshot.ref } });
  session.disown();
  await session.remove();
  t.strictSame(left(), ["before upgrade"]);
  t.equal(events().at(-1), "removed");
});
