import t from "tap";
import { Completions } from "../../../src/vddk/disk-requests.js";

void t.test("the age of the oldest request that is under way", (t) => {
  let nowMs = 1000;
  const completions = new Completions(() => nowMs);
  t.equal(completions.oldestMs, 0, "none");
  const first = completions.expect();
  nowMs += 50;
  const second = completions.expect();
  nowMs += 7;
  t.equal(completions.oldestMs, 57);
  completions.forget(first.key);
  t.equal(completions.oldestMs, 7);
  completions.forget(second.key);
  t.equal(completions.oldestMs, 0);
  t.end();
});
