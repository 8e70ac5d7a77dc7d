import t from "tap";
import { RequestDepth } from "../../../src/vddk/request-depth.js";

const RISE_AFTER_MS = 1000;

function depth(max: number): { readonly depth: RequestDepth; readonly wait: (ms: number) => void } {
  let nowMs = 5_000_000;
  return { depth: new RequestDepth(max, RISE_AFTER_MS, () => nowMs), wait: (ms) => (nowMs += ms) };
}

await t.test("it is halved, and never less than one", (t) => {
  const { depth: of } = depth(4);
  t.equal(of.rise(), false, "there is no more than all");
  const seen = [of.value];
  for (let times = 0; times < 4; times++) {
    of.lower();
    seen.push(of.value);
  }
  t.same(seen, [4, 2, 1, 1, 1]);
  t.end();
});

await t.test("one more after each wait, up to where it began", (t) => {
  const { depth: of, wait } = depth(4);
  of.lower();
  t.equal(of.rise(), false, "not at once");
  wait(RISE_AFTER_MS - 1);
  t.equal(of.rise(), false, "not too early");
  wait(1);
  t.equal(of.rise(), true);
  t.equal(of.value, 3);
  t.equal(of.rise(), false, "the next one waits as well");
  wait(RISE_AFTER_MS);
  t.equal(of.rise(), true);
  wait(RISE_AFTER_MS);
  t.equal(of.rise(), false);
  t.equal(of.value, 4);
  t.end();
});

await t.test("who refuses each try is tried less and less often, but is tried", (t) => {
  const { depth: of, wait } = depth(2);
  const waits: number[] = [];
  of.lower();
  for (let refusals = 0; refusals < 7; refusals++) {
    let seconds = 0;
    while (!of.rise()) {
      wait(RISE_AFTER_MS);
      seconds++;
    }
    waits.push(seconds);
    of.lower();
  }
  t.same(waits, [1, 2, 4, 8, 16, 16, 16]);
  t.end();
});

await t.test("refusals in a row, before it has risen, are one refusal", (t) => {
  const { depth: of, wait } = depth(16);
  for (let times = 0; times < 3; times++) of.lower();
  wait(RISE_AFTER_MS);
  t.equal(of.rise(), true);
  t.equal(of.value, 3);
  t.end();
});

await t.test("once a rise was not refused, waits are as short as the first again", (t) => {
  const { depth: of, wait } = depth(4);
  of.lower();
  wait(RISE_AFTER_MS);
  t.equal(of.rise(), true);
  of.lower();
  t.equal(of.value, 1);
  wait(RISE_AFTER_MS);
  t.equal(of.rise(), false, "refused at once: twice as long");
  wait(RISE_AFTER_MS);
  t.equal(of.rise(), true);
  wait(2 * RISE_AFTER_MS);
  t.equal(of.rise(), true, "the longer wait once more, since nobody knew");
  wait(RISE_AFTER_MS);
  t.equal(of.rise(), true, "it held");
  wait(RISE_AFTER_MS);
  of.lower();
  wait(RISE_AFTER_MS);
  t.equal(of.rise(), true, "a refusal much later is a new one");
  t.end();
});
