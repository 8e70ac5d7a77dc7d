import t from "tap";
import { alignRanges, clipRanges, mergeRanges } from "../../../src/lab/ranges.js";

await t.test("merging sorts, joins what touches and drops what is empty", (t) => {
  t.strictSame(
    mergeRanges([
      { start: 50, length: 10 },
      { start: 0, length: 10 },
      { start: 10, length: 5 },
      { start: 12, length: 1 },
      { start: 30, length: 0 },
    ]),
    [
      { start: 0, length: 15 },
      { start: 50, length: 10 },
    ],
  );
  t.end();
});

await t.test("aligning widens to blocks and stops at the end", (t) => {
  t.strictSame(
    alignRanges(
      [
        { start: 5, length: 1 },
        { start: 21, length: 3 },
      ],
      10,
      25,
    ),
    [
      { start: 0, length: 10 },
      { start: 20, length: 5 },
    ],
  );
  t.end();
});

await t.test("clipping keeps what lies inside", (t) => {
  t.strictSame(
    clipRanges(
      [
        { start: 0, length: 10 },
        { start: 20, length: 10 },
      ],
      5,
      22,
    ),
    [
      { start: 5, length: 5 },
      { start: 20, length: 2 },
    ],
  );
  t.end();
});
