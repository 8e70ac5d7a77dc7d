import fc from "fast-check";
import t from "tap";
import { Coverage } from "../../../src/nbd/coverage.js";
import { holds } from "../../fixtures/property.js";

void t.test("parts in any order count once; what has come before is refused and changes nothing", async (t) => {
  const range = fc.record({ from: fc.nat(40), length: fc.integer({ min: 1, max: 24 }) });
  const property = fc.property(fc.array(range, { maxLength: 30 }), (ranges) => {
    const covered = new Coverage();
    const seen = new Set<number>();
    for (const { from, length } of ranges) {
      const wanted = Array.from({ length }, (_, index) => from + index);
      const isNew = wanted.every((at) => !seen.has(at));
      let isTaken = true;
      try {
        covered.add(from, length);
      } catch {
        isTaken = false;
      }
      if (isNew) for (const at of wanted) seen.add(at);
      if (isTaken !== isNew || covered.bytes !== seen.size) return false;
    }
    return true;
  });
  await holds(t, property, { runs: 500 });
});

void t.test("a read in shreds ends", (t) => {
  const covered = new Coverage();
  for (let at = 0; at < 2048; at += 2) covered.add(at, 1);
  t.throws(() => {
    covered.add(4096, 1);
  }, /more than 1024 parts/);
  covered.add(1, 1);
  t.equal(covered.bytes, 1025, "what fills a gap is always taken");
  t.end();
});
