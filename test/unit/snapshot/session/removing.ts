import t from "tap";
import { HypervisorFaultError } from "../../../../src/errors.js";
import { planRecovery } from "../../../../src/snapshot/recovery.js";
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
