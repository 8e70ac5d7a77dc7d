import t from "tap";
import { CancelledError, LeftoverError } from "../../../../src/errors.js";
import { isOfSession } from "../../../../src/snapshot/ownership.js";
import { planRecovery } from "../../../../src/snapshot/recovery.js";
import { on, refused } from "../../../fixtures/snapshot-faults.js";
import { failureOf, NAME, SESSION, stage } from "../../../fixtures/snapshot-session.js";

const { signal } = new AbortController();

void t.test("a passing failure is retried within the policy", async (t) => {
  for (const failures of [1, 3]) {
    const { session, server, left, lines } = await stage({ quiesce: "off" });
    server.break(...Array.from({ length: failures }, (_, i) => on("createSnapshot", i + 1, "before")));
    await session.create(signal);
    t.equal(lines.filter(({ message }) => /Creating the snapshot failed .*; attempt/.test(message)).length, failures);
    t.strictSame(left(), [NAME]);
  }
  const { session, server, left, events } = await stage({ quiesce: "off" });
  server.break(on("createSnapshot", undefined, "before"));
  t.match(await failureOf(session.create(signal)), { name: "UnreachableError" });
  t.equal(server.calls.filter((call) => call === "createSnapshot").length, 4);
  t.strictSame(left(), []);
  t.strictSame(events(), ["planned", "creating", "create-failed"]);
});

void t.test("a refusal is not retried", async (t) => {
  const { session, server, events } = await stage({ quiesce: "off" });
  server.break(on("createSnapshot", 1, "before", refused));
  t.match(await failureOf(session.create(signal)), { name: "SnapshotError", exitCode: 71 });
  t.strictSame(server.calls, ["createSnapshot", "listSnapshots"]);
  t.strictSame(events(), ["planned", "creating", "create-failed"]);
});

void t.test("a create whose answer was lost is found again, not repeated", async (t) => {
  const { session, server, left } = await stage();
  server.break(on("createSnapshot", 1, "after"));
  const { snapshot } = await session.create(signal);
  t.strictSame(server.calls, ["createSnapshot", "listSnapshots"]);
  t.ok(isOfSession(snapshot, SESSION));
  t.strictSame(left(), [NAME]);
  await session.remove();
  t.strictSame(left(), []);
});

void t.test("a lost create that ends later than the look for it leaves nothing in the end", async (t) => {
  const { session, server, left } = await stage();
  server.break(on("createSnapshot", 1, "late"));
  await session.create(signal);
  t.strictSame(left(), [NAME, NAME], "the server now has two");
  await session.remove();
  t.strictSame(left(), []);
  t.equal(session.state.name, "removed");
});

void t.test("a lost create without retries is cleaned up", async (t) => {
  const { session, server, left, events } = await stage({ retry: { retriesMax: 0, delayMs: 0, delayMsMax: 0 } });
  server.break(on("createSnapshot", 1, "after"));
  t.match(await failureOf(session.create(signal)), { name: "UnreachableError" });
  t.strictSame(left(), []);
  t.strictSame(events(), ["planned", "creating", "removing", "create-failed"]);
});

void t.test("a create that nobody could stop is waited for before the session is called clean", async (t) => {
  const { session, server, left, events } = await stage({ retry: { retriesMax: 0, delayMs: 0, delayMsMax: 0 } });
  server.break(on("createSnapshot", 1, "late"));
  t.match(await failureOf(session.create(signal)), { name: "UnreachableError" });
  t.strictSame(left(), [], "the snapshot that came late is gone");
  t.strictSame(events(), ["planned", "creating", "removing", "create-failed"]);
});

void t.test("an abort in mid-create ends it, and removes what the server made", async (t) => {
  for (const when of ["hang", "hang after"] as const) {
    const { session, server, left, events } = await stage();
    const stop = new AbortController();
    server.break({ method: "createSnapshot", call: 1, when });
    const created = session.create(stop.signal);
    const reason = new CancelledError("Stopped by SIGINT", { signal: 2 });
    await new Promise((resolve) => setImmediate(() => setImmediate(resolve)));
    stop.abort(reason);
    t.equal(await failureOf(created), reason, when);
    t.strictSame(left(), []);
    t.equal(session.state.name, "removed");
    t.equal(events().at(-1), "create-failed");
  }
  const { session, server, events } = await stage();
  await failureOf(session.create(AbortSignal.abort(new CancelledError("Too early", { signal: 15 }))));
  t.strictSame(events(), ["planned"], "nothing is begun after the abort");
  t.strictSame(server.calls, []);
});

void t.test("a create that takes too long ends with a message that says so", async (t) => {
  for (const when of ["hang", "hang after"] as const) {
    const { session, server, left } = await stage({ createTimeoutMs: 30, quiesce: "off" });
    server.break({ method: "createSnapshot", call: 1, when });
    const error = await failureOf(session.create(signal));
    t.match(error, { name: "SnapshotError", message: /it took longer than 0.03 s/, hint: /snapshot.timeout/ });
    t.strictSame(left(), []);
  }
});

void t.test("when the server is gone after a create the journal keeps the session", async (t) => {
  const { session, server, left, events, journals } = await stage();
  server.break(on("createSnapshot", undefined, "after"), on("listSnapshots", undefined, "before"));
  const error = await failureOf(session.create(signal));
  t.ok(error instanceof LeftoverError);
  t.match(error, { exitCode: 76, hint: new RegExp(`vmmount umount ${SESSION}`) });
  t.match(error.message, /not known whether the snapshot was created/);
  t.match(session.state, { name: "leftover", reason: /The answer was lost/ });
  t.equal(events().at(-1), "leftover");
  t.equal(planRecovery(journals.records(SESSION)).action, "remove-snapshot");
  t.strictSame(left(), [NAME]);
  await session.remove();
  t.equal(events().at(-1), "leftover", "what is left over is left to a later run");
});

void t.test("a passing failure of the look after a failed create is no leftover", async (t) => {
  const { session, server, left } = await stage({ quiesce: "off" });
  server.break(on("createSnapshot", 1, "after", refused), on("listSnapshots", 1, "before"));
  t.match(await failureOf(session.create(signal)), { name: "SnapshotError" });
  t.strictSame(left(), []);
  t.equal(session.state.name, "removed");
});
