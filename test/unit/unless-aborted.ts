import { setImmediate as turn } from "node:timers/promises";
import t from "tap";
import { unlessAborted } from "../../src/unless-aborted.js";

void t.test("unlessAborted() ends with whichever is first", async (t) => {
  const stop = new AbortController();
  t.equal(await unlessAborted(Promise.resolve(1), stop.signal), 1);
  await t.rejects(unlessAborted(Promise.reject(new Error("no")), stop.signal), { message: "no" });
  const never = unlessAborted(new Promise(() => undefined), stop.signal);
  stop.abort(new Error("stopped"));
  await t.rejects(never, { message: "stopped" });
});

void t.test("unlessAborted() with a signal that was aborted before: a later failure is nobody's", async (t) => {
  let fail: (error: Error) => void = () => undefined;
  const promise = new Promise((_, reject) => (fail = reject));
  await t.rejects(unlessAborted(promise, AbortSignal.abort(new Error("stopped"))), { message: "stopped" });
  fail(new Error("late"));
  // An unhandled rejection would end the process.
  await turn();
});
