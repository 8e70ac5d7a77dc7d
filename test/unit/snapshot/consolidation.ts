import t from "tap";
import { consolidated } from "../../../src/snapshot/consolidation.js";
import { planRecovery } from "../../../src/snapshot/recovery.js";
import { MemoryServer, memoryVm } from "../../fixtures/memory-hypervisor.js";
import { lost, on } from "../../fixtures/snapshot-faults.js";
import { failureOf, SESSION, stage } from "../../fixtures/snapshot-session.js";

const { signal } = new AbortController();

void t.test("consolidated() is content with what is merged, or never was to be", async (t) => {
  const server = new MemoryServer();
  const vm = server.vms[0]!;
  const { identity } = vm.description;
  await using hypervisor = await server.connect();
  await consolidated(identity, hypervisor, { signal });
  vm.hasDeltasLeft = true;
  await consolidated(identity, hypervisor, { signal });
  t.equal(vm.hasDeltasLeft, false);
  vm.hasDeltasLeft = true;
  server.leavesDeltas = "always";
  t.match(await failureOf(consolidated(identity, hypervisor, { signal })), {
    message: 'The VM "web/01" still needs consolidation after it was done',
    hint: /vSphere client/,
  });
});

void t.test("a session merges what its removal left, and tries again while the VM is busy", async (t) => {
  const { session, server, vm, events, lines } = await stage();
  await session.create(signal);
  server.leavesDeltas = "after removal";
  server.break(on("consolidate", 1, "before"), on("consolidate", 2, "after"));
  await session.remove();
  t.equal(vm.hasDeltasLeft, false);
  t.equal(session.state.name, "removed");
  t.equal(events().at(-1), "removed");
  t.equal(lines.filter(({ message }) => message.startsWith("Consolidating the disks failed")).length, 2);
});

void t.test("what cannot be merged is a leftover that the journal keeps", async (t) => {
  for (const fails of ["always", "never asked"] as const) {
    const { session, server, vm, events, left, journals } = await stage();
    await session.create(signal);
    server.leavesDeltas = "always";
    if (fails === "never asked") server.break(on("consolidate", undefined, "before", lost));
    t.match(await failureOf(session.remove()), {
      name: "LeftoverError",
      message: /the snapshot is removed, but the server has not merged its delta files/,
      hint: /vmmount umount k3v9q2m7xa/,
    });
    t.strictSame([left(), vm.hasDeltasLeft], [[], true]);
    t.equal(events().at(-1), "leftover");
    t.equal(planRecovery(journals.records(SESSION)).action, "remove-snapshot");
  }
});

void t.test("what needed consolidation before the session is not its business", async (t) => {
  const server = new MemoryServer([memoryVm({}, { consolidationNeeded: true })]);
  const { session, vm } = await stage({}, server);
  await session.create(signal);
  server.leavesDeltas = "always";
  await session.remove();
  t.equal(session.state.name, "removed");
  t.notOk(server.calls.includes("consolidate"));
  t.equal(vm.hasDeltasLeft, true);
});
