import t from "tap";
import { on, refused } from "../../../fixtures/snapshot-faults.js";
import { failureOf, stage } from "../../../fixtures/snapshot-session.js";

const { signal } = new AbortController();

void t.test("a full journal disk", async (t) => {
  const full = Object.assign(new Error("ENOSPC: no space left on device"), { code: "ENOSPC" });
  await t.test("prevents a snapshot whose intent cannot be written", async (t) => {
    const { session, server, journals } = await stage();
    journals.refuse = () => full;
    t.equal(await failureOf(session.create(signal)), full);
    t.strictSame(server.calls, []);
    t.equal(session.state.name, "planned");
  });
  await t.test("removes a snapshot whose creation cannot be written", async (t) => {
    const { session, journals, left, events } = await stage();
    journals.refuse = ({ event }) => (event === "created" ? full : undefined);
    t.equal(await failureOf(session.create(signal)), full);
    t.strictSame(left(), []);
    t.equal(session.state.name, "removed");
    t.strictSame(events(), ["planned", "creating", "removing", "create-failed"]);
  });
  await t.test("keeps no snapshot alive", async (t) => {
    const { session, journals, left, lines } = await stage();
    await session.create(signal);
    journals.refuse = () => full;
    await session.remove();
    t.strictSame(left(), []);
    t.equal(session.state.name, "removed");
    t.match(lines, [{ level: "warn", message: /Cannot write the journal/ }, { level: "warn" }]);
  });
  await t.test("does not make a leftover of what was removed", async (t) => {
    const { session, server, journals, left } = await stage({ quiesce: "off" });
    journals.refuse = ({ event }) => (event === "creating" ? undefined : full);
    server.break(on("createSnapshot", 1, "after", refused));
    t.match(await failureOf(session.create(signal)), { name: "SnapshotError" });
    t.strictSame(left(), []);
    t.equal(session.state.name, "removed");
  });
});
