import t from "tap";
import type { VmDescription } from "../../../../src/hypervisor.js";
import { MemoryServer, memoryVm } from "../../../fixtures/memory-hypervisor.js";
import { frozen, on } from "../../../fixtures/snapshot-faults.js";
import { failureOf, stage } from "../../../fixtures/snapshot-session.js";

const { signal } = new AbortController();

void t.test("asks the guest as the policy says", async (t) => {
  type Case = [
    policy: "auto" | "require" | "off",
    power: "on" | "off" | "suspended",
    tools: boolean,
    outcome: "quiesced" | "crash" | "offline" | "refused",
    warns: boolean,
  ];
  const cases: Case[] = [
    ["auto", "on", true, "quiesced", false],
    ["auto", "on", false, "crash", true],
    ["auto", "suspended", true, "crash", true],
    ["auto", "off", false, "offline", false],
    ["require", "on", true, "quiesced", false],
    ["require", "on", false, "refused", false],
    ["require", "suspended", true, "refused", false],
    ["require", "off", false, "offline", false],
    ["off", "on", true, "crash", false],
    ["off", "on", false, "crash", false],
    ["off", "suspended", false, "crash", false],
    ["off", "off", false, "offline", false],
  ];
  for (const [quiesce, powerState, toolsRunning, outcome, warns] of cases) {
    const what = `${quiesce}, ${powerState}, tools ${toolsRunning ? "running" : "not running"}`;
    const server = new MemoryServer([memoryVm({ powerState }, { toolsRunning })]);
    const vm: VmDescription = server.vms[0]!.description;
    const { session, left, events, lines } = await stage({ quiesce, vm }, server);
    if (outcome === "refused") {
      t.match(await failureOf(session.create(signal)), { exit: "quiesce", hint: /--quiesce off/ }, what);
      t.strictSame(events(), ["planned"], "nothing was begun");
      t.strictSame([...left(), ...server.calls], []);
      continue;
    }
    const { snapshot, consistency } = await session.create(signal);
    t.equal(consistency, outcome, what);
    t.equal(snapshot.quiesced, outcome === "quiesced");
    t.equal(lines.filter(({ level }) => level === "warn").length, warns ? 1 : 0);
    if (warns) t.match(lines, [{ message: /crash-consistent/ }]);
    await session.remove();
    t.strictSame(left(), []);
  }
});

void t.test("a guest that fails to freeze once is asked again, without waiting", async (t) => {
  const { session, server, left, lines } = await stage();
  server.break(on("createSnapshot", 1, "before", frozen));
  t.equal((await session.create(signal)).consistency, "quiesced");
  t.match(lines, [{ level: "warn", message: /did not freeze; trying once more/ }]);
  await session.remove();
  t.strictSame(left(), []);
});

void t.test("a guest that never freezes gives a crash-consistent snapshot, with a warning", async (t) => {
  const { session, server, left, lines } = await stage();
  server.break(on("createSnapshot", 1, "before", frozen), on("createSnapshot", 2, "before", frozen));
  const { snapshot, consistency } = await session.create(signal);
  t.equal(consistency, "crash");
  t.equal(snapshot.quiesced, false);
  t.match(lines.at(-1), {
    level: "warn",
    message: /crash-consistent, like a disk after a power cut: The guest did not/,
  });
  t.strictSame(server.calls, ["createSnapshot", "createSnapshot", "createSnapshot"]);
  await session.remove();
  t.strictSame(left(), []);
});

void t.test("or fails when quiescing is required", async (t) => {
  const { session, server, left, events } = await stage({ quiesce: "require" });
  server.break(on("createSnapshot", undefined, "before", frozen));
  t.match(await failureOf(session.create(signal)), { name: "QuiesceError", exitCode: 72 });
  t.strictSame(server.calls, ["createSnapshot", "createSnapshot", "listSnapshots"]);
  t.strictSame(left(), []);
  t.strictSame(events(), ["planned", "creating", "create-failed"]);
  t.equal(session.state.name, "removed");
});

void t.test("a failed freeze that left its snapshot behind leaves none in the end", async (t) => {
  const { session, server, left } = await stage();
  server.break(on("createSnapshot", 1, "after", frozen), on("createSnapshot", 2, "after", frozen));
  t.equal((await session.create(signal)).consistency, "crash");
  t.equal(left().length, 3);
  await session.remove();
  t.strictSame(left(), []);
});
