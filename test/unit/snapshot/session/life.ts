import t from "tap";
import { isOfSession } from "../../../../src/snapshot/ownership.js";
import { on, refused } from "../../../fixtures/snapshot-faults.js";
import { failureOf, NAME, SESSION, stage } from "../../../fixtures/snapshot-session.js";

const { signal } = new AbortController();

void t.test("creates one marked snapshot and removes it", async (t) => {
  const { session, left, events, vm, progress, lines } = await stage();
  t.equal(session.state.name, "planned");
  await session.remove();
  t.strictSame(events(), ["planned"], "there is nothing to remove yet");
  const { snapshot, consistency } = await session.create(signal);
  t.equal(consistency, "quiesced");
  t.equal(snapshot.quiesced, true);
  t.ok(isOfSession(snapshot, SESSION));
  t.match(session.state, { name: "created", snapshot, consistency });
  t.strictSame(left(), [NAME]);
  t.strictSame(events(), ["planned", "creating", "created"]);
  await session.remove();
  t.strictSame(session.state, { name: "removed" });
  t.strictSame(left(), []);
  t.equal(vm.current, undefined);
  t.strictSame(events(), ["planned", "creating", "created", "removing", "removed"]);
  await session.remove();
  t.equal(events().length, 5, "removing twice is harmless");
  t.match(progress, [{ percent: 50 }, { percent: 50 }]);
  t.strictSame(lines, []);
});

void t.test("a VM that is deleted meanwhile leaves nothing to remove", async (t) => {
  const { session, server, events } = await stage({ quiesce: "off" });
  server.break(on("createSnapshot", 1, "before", refused));
  server.vms.length = 0;
  t.match(await failureOf(session.create(signal)), { name: "SnapshotError" });
  t.equal(events().at(-1), "create-failed");

  const second = await stage();
  await second.session.create(signal);
  second.server.vms.length = 0;
  await second.session.remove();
  t.equal(second.events().at(-1), "removed");
});
