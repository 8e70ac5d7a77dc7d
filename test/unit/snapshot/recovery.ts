import t from "tap";
import { UnreachableError } from "../../../src/errors.js";
import type { Hypervisor } from "../../../src/hypervisor.js";
import type { JournalEvent, JournalRecord } from "../../../src/snapshot/journal-record.js";
import { describeOwnership, snapshotName } from "../../../src/snapshot/ownership.js";
import { owesHook, planRecovery, removeSessionSnapshots, removeUsedSnapshot } from "../../../src/snapshot/recovery.js";
import { journaledUse } from "../../../src/snapshot/used-snapshot.js";
import { MemoryServer, memoryVm } from "../../fixtures/memory-hypervisor.js";
import { recordingLogger } from "../../fixtures/recording-logger.js";
import { sessionFacts } from "../../fixtures/snapshot-facts.js";
import { failureOf, SESSION } from "../../fixtures/snapshot-session.js";

const { signal } = new AbortController();
const FACTS = sessionFacts();
const PLANNED: JournalEvent = { event: "planned", facts: FACTS };
const CREATING: JournalEvent = { event: "creating", quiesce: true };
const CREATED: JournalEvent = { event: "created", snapshot: "snapshot-1", consistency: "crash" };
const SERVING: JournalEvent = { event: "serving", disks: 1 };
const UNMOUNTING: JournalEvent = { event: "unmounting", reason: "asked" };
const REMOVING: JournalEvent = { event: "removing", snapshot: "snapshot-1" };
const REMOVED: JournalEvent = { event: "removed" };
const FAILED: JournalEvent = { event: "create-failed", reason: "no room" };
const KEPT: JournalEvent = { event: "kept" };
const USED = { snapshot: "snapshot-9", name: "_VCB-BACKUP_", createdAt: "2026-03-04T05:06:07.890Z" };
const USING: JournalEvent = { event: "using", ...USED };
const LEFTOVER: JournalEvent = { event: "leftover", reason: "server gone" };

function records(events: readonly JournalEvent[]): JournalRecord[] {
  return events.map((event, seq) => ({ v: 1, seq, session: SESSION, time: "2026-03-04T05:06:07.890Z", ...event }));
}

void t.test("a snapshot that is still being made when its session died is waited for and removed", async (t) => {
  const server = new MemoryServer();
  await using hypervisor = await server.connect();
  const vm = server.vms[0]!;
  server.break({ method: "createSnapshot", call: 1, when: "late", error: () => new UnreachableError("Killed") });
  const description = describeOwnership({
    session: SESSION,
    version: "1",
    host: "h",
    mountPoint: "/m",
    created: "now",
  });
  const spec = { name: snapshotName(SESSION), description, quiesce: true };
  await failureOf(hypervisor.createSnapshot(vm.description.identity.ref, spec, { signal }));
  t.equal(vm.snapshots.size, 0);
  const { logger } = recordingLogger();
  t.equal(await removeSessionSnapshots(SESSION, FACTS, hypervisor, { signal, logger, unprovable: "forget" }), 1);
  t.equal(vm.snapshots.size, 0);
});

void t.test("the user's second command is owed from the beginning of the first until it has run", (t) => {
  const before: JournalEvent = { event: "hook-before" };
  const after: JournalEvent = { event: "hook-after" };
  const cases: [events: JournalEvent[], owes: boolean][] = [
    [[], false],
    [[PLANNED, CREATING], false],
    [[PLANNED, before], true],
    [[PLANNED, before, CREATING, CREATED], true],
    [[PLANNED, before, CREATING, FAILED, after], false],
    [[PLANNED, before, CREATING, CREATED, after, SERVING], false],
  ];
  for (const [events, owes] of cases) {
    t.equal(owesHook(records(events)), owes, events.map(({ event }) => event).join(", "));
    const withoutHooks = events.filter((event) => event !== before && event !== after);
    t.strictSame(planRecovery(records(events)), planRecovery(records(withoutHooks)), "the snapshot is another matter");
  }
  t.end();
});

void t.test("planRecovery() looks for a snapshot exactly when one may exist, after a crash at every step", (t) => {
  const cases: [life: JournalEvent[], mayExist: boolean[]][] = [
    [
      [PLANNED, CREATING, CREATED, SERVING, UNMOUNTING, REMOVING, REMOVED],
      [false, true, true, true, true, true, false],
    ],
    [
      [PLANNED, CREATING, FAILED],
      [false, true, false],
    ],
    [
      [PLANNED, CREATING, REMOVING, FAILED],
      [false, true, true, false],
    ],
    [
      [PLANNED, CREATING, LEFTOVER, REMOVING, REMOVED],
      [false, true, true, true, false],
    ],
    [
      [PLANNED, CREATING, CREATED, SERVING, UNMOUNTING, REMOVING, LEFTOVER, REMOVING, LEFTOVER, REMOVING],
      [false, true, true, true, true, true, true, true, true, true],
    ],
  ];
  t.strictSame(planRecovery([]), { action: "nothing", facts: undefined });
  for (const [life, mayExist] of cases) {
    for (const [index, expected] of mayExist.entries()) {
      const plan = planRecovery(records(life.slice(0, index + 1)));
      const action = expected ? "remove-snapshot" : "nothing";
      t.strictSame(
        plan,
        { action, facts: FACTS },
        life
          .slice(0, index + 1)
          .map(({ event }) => event)
          .join(" "),
      );
    }
  }
  t.strictSame(planRecovery(records([CREATING])), { action: "nothing", facts: undefined }, "nobody knows where");
  t.end();
});

function spec(session: string, own: { name?: string; description?: string } = {}) {
  const mark = { session, version: "1", host: "backup1", mountPoint: "/mnt/backup", created: "now" };
  return { name: snapshotName(session), description: describeOwnership(mark), quiesce: false, ...own };
}

async function recover(server: MemoryServer, hypervisor: Hypervisor, facts = FACTS) {
  const { logger, lines } = recordingLogger();
  const removed = await removeSessionSnapshots(SESSION, facts, hypervisor, { signal, logger, unprovable: "forget" });
  return { removed, lines, left: server.vms.flatMap((vm) => [...vm.snapshots.keys()]) };
}

void t.test("removeSessionSnapshots() removes what carries the session's mark, and nothing else", async (t) => {
  const server = new MemoryServer();
  const vm = server.vms[0]!;
  for (const one of [
    spec("other00000"),
    spec(SESSION),
    spec(SESSION, { name: "renamed" }),
    spec(SESSION, { description: "edited" }),
    spec(SESSION),
  ]) {
    server.takeSnapshot(vm, one);
  }
  const hypervisor = await server.connect();
  const first = await recover(server, hypervisor);
  t.equal(first.removed, 2, "a lost create may have made a second one");
  t.strictSame(first.left, ["snapshot-1", "snapshot-3", "snapshot-4"]);
  t.match(first.lines, [{ level: "info", message: /Removed snapshot "vmmount-k3v9q2m7xa"/ }, { level: "info" }]);
  t.strictSame(await recover(server, hypervisor), { removed: 0, lines: [], left: first.left }, "twice is harmless");
});

void t.test("removeSessionSnapshots() finds the VM again", async (t) => {
  const { instanceUuid } = FACTS.vm;
  const cases: [what: string, vms: ReturnType<typeof memoryVm>[], facts: typeof FACTS][] = [
    ["registered again: another moref", [memoryVm({ ref: "vm-99" })], FACTS],
    ["copied: another instance UUID", [memoryVm({ instanceUuid: "copy" })], FACTS],
    ["renamed and moved", [memoryVm({ name: "new", path: "/dc/x/new" })], FACTS],
    ["copies share a UUID", [memoryVm({ ref: "vm-1", path: "/a" }), memoryVm({ ref: "vm-2", path: "/b" })], FACTS],
    [
      "known by moref alone",
      [memoryVm({ instanceUuid: undefined })],
      sessionFacts({ vm: { ...FACTS.vm, instanceUuid: undefined } }),
    ],
  ];
  t.ok(instanceUuid);
  for (const [what, vms, facts] of cases) {
    const server = new MemoryServer(vms);
    server.takeSnapshot(vms.at(-1)!, spec(SESSION));
    t.match(await recover(server, await server.connect(), facts), { removed: 1, left: [] }, what);
  }
});

void t.test("removeSessionSnapshots() never takes a VM of the same name for the one", async (t) => {
  const server = new MemoryServer([memoryVm({ ref: "vm-7", instanceUuid: "other" })]);
  server.takeSnapshot(server.vms[0]!, spec(SESSION));
  const { removed, left, lines } = await recover(server, await server.connect());
  t.equal(removed, 0);
  t.strictSame(left, ["snapshot-1"]);
  t.match(lines, [{ level: "warn", message: /The VM "web\/01" is gone from https:\/\/vc1.example.org/ }]);
});

void t.test("a VM that has the id of the session's VM now does not prove that nothing is left", async (t) => {
  const server = new MemoryServer([memoryVm({ instanceUuid: "of another VM" })]);
  const hypervisor = await server.connect();
  const options = { signal, logger: recordingLogger().logger, unprovable: "keep" } as const;
  const says = { name: "RefusedError", message: /vm-42 has another instance UUID than "web\/01" had/ };
  t.match(await failureOf(removeSessionSnapshots(SESSION, FACTS, hypervisor, options)), says);
  const used = { snapshot: "snapshot-1", name: "theirs", createdAt: "2026-03-04T05:06:07.890Z" };
  t.match(await failureOf(removeUsedSnapshot(used, FACTS, hypervisor, options)), says);
  server.takeSnapshot(server.vms[0]!, spec(SESSION));
  t.equal(await removeSessionSnapshots(SESSION, FACTS, hypervisor, options), 1, "its mark proves it");
});

void t.test("removeSessionSnapshots() merges what a removal of the session left, and only that", async (t) => {
  const server = new MemoryServer();
  const vm = server.vms[0]!;
  const { logger } = recordingLogger();
  const hypervisor = await server.connect();
  const remove = (createdRef?: string, facts = FACTS): Promise<number> =>
    removeSessionSnapshots(SESSION, facts, hypervisor, { signal, logger, unprovable: "forget", createdRef });
  vm.hasDeltasLeft = true;
  await remove();
  t.equal(vm.hasDeltasLeft, true, "it never made a snapshot");
  await remove("snapshot-1", sessionFacts({ neededConsolidation: true }));
  t.equal(vm.hasDeltasLeft, true, "they were there before it");
  await remove("snapshot-1");
  t.equal(vm.hasDeltasLeft, false, "it died between the removal and the merge");
  server.takeSnapshot(vm, spec(SESSION));
  server.leavesDeltas = "always";
  t.match(await failureOf(remove()), { message: /still needs consolidation/ });
  server.leavesDeltas = "never";
  t.equal(await remove("snapshot-1"), 0);
  t.equal(vm.hasDeltasLeft, false, "the next run does it");
});

void t.test("removeSessionSnapshots() passes failures on", async (t) => {
  for (const method of ["findVms", "listSnapshots", "removeSnapshot"] as const) {
    const server = new MemoryServer();
    server.takeSnapshot(server.vms[0]!, spec(SESSION));
    server.break({ method, when: "before", error: () => new UnreachableError("gone") });
    t.match(await failureOf(recover(server, await server.connect())), { message: "gone" }, method);
    server.break();
    t.match(await recover(server, await server.connect()), { removed: 1, left: [] });
  }
});

void t.test("removeSessionSnapshots() takes a VM that is deleted in the middle for gone", async (t) => {
  const server = new MemoryServer();
  const hypervisor = await server.connect();
  const { vms } = server;
  const deleting: Hypervisor = {
    ...hypervisor,
    identity: hypervisor.identity,
    [Symbol.asyncDispose]: () => hypervisor[Symbol.asyncDispose](),
    findVms: async (form, options) => {
      const found = await hypervisor.findVms(form, options);
      if (form.kind === "instanceuuid") vms.length = 0;
      return found;
    },
    settleSnapshots: (vm, options) => hypervisor.settleSnapshots(vm, options),
    listSnapshots: (vm, options) => hypervisor.listSnapshots(vm, options),
  };
  t.match(await recover(server, deleting), { removed: 0 });
});

void t.test("planRecovery() leaves what the policy leaves, once the mount was served", (t) => {
  const planned = (policy: "manual" | "createonly" | "deleteonly"): JournalEvent => ({
    event: "planned",
    facts: { ...FACTS, policy },
  });
  const cases: [life: JournalEvent[], actions: string[]][] = [
    [
      [planned("createonly"), CREATING, CREATED, SERVING, UNMOUNTING, KEPT],
      ["nothing", "remove-snapshot", "remove-snapshot", "nothing", "nothing", "nothing"],
    ],
    [
      [planned("createonly"), CREATING, CREATED, REMOVING, LEFTOVER],
      ["nothing", "remove-snapshot", "remove-snapshot", "remove-snapshot", "remove-snapshot"],
    ],
    [
      [planned("manual"), USING, SERVING, UNMOUNTING, KEPT],
      ["nothing", "nothing", "nothing", "nothing", "nothing"],
    ],
    [
      [planned("deleteonly"), USING, SERVING, UNMOUNTING, REMOVING, REMOVED],
      ["nothing", "nothing", "remove-used", "remove-used", "remove-used", "nothing"],
    ],
    [
      [planned("deleteonly"), USING, SERVING, UNMOUNTING, REMOVING, LEFTOVER],
      ["nothing", "nothing", "remove-used", "remove-used", "remove-used", "remove-used"],
    ],
    [
      [planned("deleteonly"), USING, KEPT],
      ["nothing", "nothing", "nothing"],
    ],
  ];
  for (const [life, actions] of cases) {
    for (const [index, action] of actions.entries()) {
      const plan = planRecovery(records(life.slice(0, index + 1)));
      const what = `${JSON.stringify(life[0])} … ${life[index]?.event ?? ""}`;
      t.equal(plan.action, action, what);
      if (plan.action === "remove-used") t.strictSame(plan.used, USED, what);
    }
  }
  t.end();
});

void t.test("removeUsedSnapshot() removes exactly the one that was used, and takes nothing for it", async (t) => {
  const server = new MemoryServer();
  const vm = server.vms[0]!;
  await using hypervisor = await server.connect();
  const before = server.takeSnapshot(vm, { name: "before", description: "", quiesce: false });
  const wanted = server.takeSnapshot(vm, { name: USED.name, description: "", quiesce: false });
  const { logger } = recordingLogger();
  const options = { signal, logger, unprovable: "keep" } as const;
  const left = (): string[] => [...vm.snapshots.keys()];
  const used = journaledUse(wanted);
  for (const other of [
    { ...used, name: "renamed" },
    { ...used, createdAt: "2020-01-01T00:00:00.000Z" },
  ]) {
    t.match(await failureOf(removeUsedSnapshot(other, FACTS, hypervisor, options)), { name: "RefusedError" });
    t.equal(await removeUsedSnapshot(other, FACTS, hypervisor, { ...options, unprovable: "forget" }), 0);
    t.strictSame(left(), [before.ref, wanted.ref]);
  }
  t.equal(await removeUsedSnapshot(used, FACTS, hypervisor, options), 1);
  t.strictSame(left(), [before.ref]);
  t.equal(await removeUsedSnapshot(used, FACTS, hypervisor, options), 0, "twice is harmless");
  server.vms.length = 0;
  t.match(await failureOf(removeUsedSnapshot(used, FACTS, hypervisor, options)), { message: /is gone .* or hidden/ });
  t.equal(await removeUsedSnapshot(used, FACTS, hypervisor, { ...options, unprovable: "forget" }), 0);
});
