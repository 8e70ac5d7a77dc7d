import { deepStrictEqual } from "node:assert/strict";
import fc from "fast-check";
import t from "tap";
import type { Extent } from "../../../../src/block-source.js";
import { IntegrityError } from "../../../../src/errors.js";
import { ExtentMap } from "../../../../src/fs/block/extent-map.js";
import { bytes } from "../../../../src/units.js";
import { holds } from "../../../fixtures/property.js";

/** "data" and "hole" in turn, beginning with `first`. */
function alternating(first: Extent["kind"], lengths: readonly number[]): Extent[] {
  let at = 0;
  return lengths.map((length, i) => {
    const kind = (i % 2 === 0) === (first === "data") ? "data" : "hole";
    const extent = { kind, start: bytes(at), length: bytes(length) } as const;
    at += length;
    return extent;
  });
}

function map(first: Extent["kind"], ...lengths: number[]): Promise<ExtentMap> {
  return ExtentMap.collect(bytes(lengths.reduce((a, b) => a + b, 0)), alternating(first, lengths));
}

void t.test("seek() finds data and holes from every offset", async (t) => {
  const middle = await map("hole", 10, 5, 10);
  t.equal(middle.allocated, 5);
  t.strictSame(
    [0, 9, 10, 14, 15, 24].map((at) => [middle.seek(bytes(at), "data"), middle.seek(bytes(at), "hole")]),
    [
      [10, 0],
      [10, 9],
      [10, 15],
      [14, 15],
      [undefined, 15],
      [undefined, 24],
    ],
  );
});

void t.test("seek() gives the size when no hole is left", async (t) => {
  const all = ExtentMap.allData(bytes(7));
  t.equal(all.seek(bytes(3), "hole"), 7);
  t.equal(all.seek(bytes(3), "data"), 3);
  t.equal(all.allocated, 7);
  const none = await map("hole", 7);
  t.equal(none.seek(bytes(3), "hole"), 3);
  t.equal(none.seek(bytes(3), "data"), undefined);
  t.equal(none.allocated, 0);
});

void t.test("an empty disk has an empty map", async (t) => {
  t.equal(ExtentMap.allData(bytes(0)).rangeCount, 0);
  t.equal((await ExtentMap.collect(bytes(0), [])).allocated, 0);
  t.strictSame([...ExtentMap.allData(bytes(0)).pieces(bytes(0), 0)], []);
  t.end();
});

void t.test("collect() joins what lies together", async (t) => {
  const extents: Extent[] = [
    { kind: "data", start: bytes(0), length: bytes(3) },
    { kind: "data", start: bytes(3), length: bytes(3) },
    { kind: "hole", start: bytes(6), length: bytes(1) },
    { kind: "hole", start: bytes(7), length: bytes(1) },
  ];
  const joined = await ExtentMap.collect(bytes(8), extents);
  t.equal(joined.rangeCount, 1);
  t.strictSame(
    [...joined.pieces(bytes(0), 8)],
    [
      { kind: "data", start: 0, length: 6 },
      { kind: "hole", start: 6, length: 2 },
    ],
  );
});

void t.test("collect() refuses extents that do not tile the disk", async (t) => {
  const data = (start: number, length: number) => ({ kind: "data", start, length }) as Extent;
  const bad: [string, Extent[]][] = [
    ["gap", [data(0, 4), data(5, 5)]],
    ["gap at the start", [data(1, 9)]],
    ["overlap", [data(0, 6), data(5, 5)]],
    ["backwards", [data(5, 5), data(0, 5)]],
    ["too short", [data(0, 9)]],
    ["nothing", []],
    ["too long", [data(0, 11)]],
    ["empty extent", [data(0, 5), data(5, 0), data(5, 5)]],
    ["negative", [data(0, -1)]],
    ["fraction", [data(0, 0.5)]],
    ["not a number", [data(0, NaN)]],
  ];
  for (const [what, extents] of bad) await t.rejects(ExtentMap.collect(bytes(10), extents), IntegrityError, what);
  await t.rejects(ExtentMap.collect(bytes(10), [], { rangesMax: 0 }), RangeError);
});

void t.test("pieces() refuses a range past the end", (t) => {
  t.throws(() => [...ExtentMap.allData(bytes(10)).pieces(bytes(5), 6)], RangeError);
  t.end();
});

void t.test("collect() gives up small holes, never data, to stay in bounds", async (t) => {
  const lengths = Array.from({ length: 4000 }, (_, i) => (i % 2 === 0 ? 3 : 1 + (i % 37)));
  const exact = await map("data", ...lengths);
  t.equal(exact.rangeCount, 2000);
  const bounded = await ExtentMap.collect(exact.size, alternating("data", lengths), { rangesMax: 100 });
  t.ok(bounded.rangeCount <= 100, `${bounded.rangeCount} ranges`);
  t.ok(bounded.rangeCount > 1 || bounded.allocated > exact.allocated);
  for (const piece of exact.pieces(bytes(0), exact.size)) {
    if (piece.kind === "data") t.strictSame([...bounded.pieces(piece.start, piece.length)], [piece]);
  }
  const one = await ExtentMap.collect(exact.size, alternating("data", lengths), { rangesMax: 1 });
  t.equal(one.rangeCount, 1);
});

void t.test("map, pieces and seek agree with a plain array of flags", async (t) => {
  const layout = fc.tuple(fc.constantFrom("data" as const, "hole" as const), fc.array(fc.integer({ min: 1, max: 9 })));
  const property = fc.asyncProperty(layout, fc.nat(), fc.nat(), async ([first, lengths], a, b) => {
    const made = await map(first, ...lengths);
    const flags = alternating(first, lengths).flatMap(({ kind, length }) => new Array<string>(length).fill(kind));
    deepStrictEqual(made.allocated, flags.filter((kind) => kind === "data").length);
    const at = a % (made.size + 1);
    const length = b % (made.size - at + 1);
    const pieces = [...made.pieces(bytes(at), length)];
    deepStrictEqual(
      pieces.flatMap((piece) => new Array<string>(piece.length).fill(piece.kind)),
      flags.slice(at, at + length),
    );
    if (at === made.size) return;
    const data = flags.indexOf("data", at);
    const hole = flags.indexOf("hole", at);
    deepStrictEqual(made.seek(bytes(at), "data"), data < 0 ? undefined : data);
    deepStrictEqual(made.seek(bytes(at), "hole"), hole < 0 ? made.size : hole);
  });
  await holds(t, property, { runs: 500 });
});
