import t from "tap";
import type { PrefetchingSource } from "../../../../src/fs/block/cached.js";
import { ExtentMap } from "../../../../src/fs/block/extent-map.js";
import { readAhead } from "../../../../src/fs/block/read-ahead.js";
import { bytes, MIB } from "../../../../src/units.js";

const BLOCK = MIB;
const { signal } = new AbortController();

/** A disk of `blocks` blocks without bytes, that notes which blocks are asked for. */
function setUp(blocks: number, options: { blocksMax?: number; prefetchBlocksMax?: number; map?: ExtentMap } = {}) {
  const { blocksMax = 8, prefetchBlocksMax = 64, map } = options;
  const asked: number[] = [];
  const room = { isLeft: true };
  const below: PrefetchingSource = {
    size: bytes(blocks * BLOCK),
    read: () => Promise.resolve(),
    blockBytes: BLOCK,
    prefetchBlocksMax,
    prefetch: (block) => {
      if (room.isLeft) asked.push(block);
      return room.isLeft;
    },
    [Symbol.asyncDispose]: () => Promise.resolve(),
  };
  const source = readAhead(below, { blocksMax, map });
  return {
    room,
    /** Reads `length` bytes at `at` (in blocks) and tells what that made it ask for. */
    read: async (at: number, length: number): Promise<number[]> => {
      asked.length = 0;
      await source.read(new Uint8Array(length * BLOCK), bytes(at * BLOCK), { signal });
      return [...asked];
    },
  };
}

void t.test("a copy from the start gets twice the distance each time, up to the maximum", async (t) => {
  const { read } = setUp(100);
  t.strictSame(await read(0, 1), [1, 2]);
  t.strictSame(await read(1, 1), [3, 4, 5]);
  t.strictSame(await read(2, 1), [6]);
  t.strictSame(await read(3, 1), [7, 8, 9, 10, 11]);
  t.strictSame(await read(4, 1), [12]);
  t.strictSame(await read(5, 4), [13, 14, 15, 16]);
});

void t.test("a read in the middle asks for nothing, a second one that follows does", async (t) => {
  const { read } = setUp(100);
  t.strictSame(await read(40, 1), []);
  t.strictSame(await read(41, 1), [42, 43]);
});

void t.test("random reads ask for nothing", async (t) => {
  const { read } = setUp(1000);
  for (const at of [500, 20, 900, 333, 700, 111]) t.strictSame(await read(at, 1), []);
});

void t.test("small reads do not grow the distance faster than they consume", async (t) => {
  const { read } = setUp(100);
  t.strictSame(await read(0, 1 / 256), [1, 2]);
  for (let i = 1; i < 256; i++) t.strictSame(await read(i / 256, 1 / 256), []);
});

void t.test("reads of one stream may come out of order", async (t) => {
  const { read } = setUp(100);
  await read(0, 1);
  t.strictSame(await read(2, 1), [3, 4, 5, 6]);
  t.strictSame(await read(1, 1), []);
  t.ok((await read(3, 1)).every((block) => block > 4));
});

void t.test("a reader that jumps away starts over", async (t) => {
  const { read } = setUp(1000);
  for (let at = 0; at < 10; at++) await read(at, 1);
  t.strictSame(await read(500, 1), []);
  t.strictSame(await read(501, 1), [502, 503]);
});

void t.test("four readers at a time are told apart", async (t) => {
  const { read } = setUp(1000);
  const starts = [100, 300, 500, 700];
  for (const start of starts) await read(start, 1);
  for (const start of starts) t.strictSame(await read(start + 1, 1), [start + 2, start + 3]);
  await read(900, 1);
  t.strictSame(await read(102, 1), [], "the fifth replaced the one idle for longest");
});

void t.test("the end of the disk is the end", async (t) => {
  const { read } = setUp(4);
  t.strictSame(await read(0, 2), [2, 3]);
  t.strictSame(await read(2, 2), []);
  t.strictSame(await read(0, 0), []);
});

void t.test("holes are skipped and do not count as distance", async (t) => {
  const extents = [
    { kind: "data" as const, start: bytes(0), length: bytes(2 * BLOCK) },
    { kind: "hole" as const, start: bytes(2 * BLOCK), length: bytes(50.5 * BLOCK) },
    { kind: "data" as const, start: bytes(52.5 * BLOCK), length: bytes(1.5 * BLOCK) },
    { kind: "hole" as const, start: bytes(54 * BLOCK), length: bytes(46 * BLOCK) },
  ];
  const map = await ExtentMap.collect(bytes(100 * BLOCK), extents);
  const { read } = setUp(100, { map });
  t.strictSame(await read(0, 1), [1, 52]);
  t.strictSame(await read(1, 1), [53]);
  t.strictSame(await read(2, 1), []);
});

void t.test("without room it asks again later, in order", async (t) => {
  const { read, room } = setUp(100);
  room.isLeft = false;
  t.strictSame(await read(0, 1), []);
  room.isLeft = true;
  t.strictSame((await read(1, 1)).slice(0, 2), [2, 3]);
});

void t.test("the cache's bound for one stream counts, and 0 blocks is off", async (t) => {
  const bounded = setUp(100, { prefetchBlocksMax: 1 });
  t.strictSame(await bounded.read(0, 1), [1]);
  t.strictSame(await bounded.read(1, 1), [2]);
  const off = setUp(100, { blocksMax: 0 });
  t.strictSame(await off.read(0, 1), []);
  t.strictSame(await off.read(1, 1), []);
});

void t.test("a reader that jumps over holes from data to data keeps its distance", async (t) => {
  const extents = Array.from({ length: 20 }, (_, index) => [
    { kind: "data" as const, start: bytes(index * 50 * BLOCK), length: bytes(BLOCK / 16) },
    { kind: "hole" as const, start: bytes((index * 50 + 1 / 16) * BLOCK), length: bytes((50 - 1 / 16) * BLOCK) },
  ]).flat();
  const map = await ExtentMap.collect(bytes(1000 * BLOCK), extents);
  const { read } = setUp(1000, { map });
  t.strictSame(await read(0, 1 / 16), [50, 100], "the next data, however far");
  await read(50, 1 / 16);
  t.ok((await read(100, 1 / 16)).length > 0, "and further ahead with each step");
  t.strictSame(await read(777, 1 / 16), [], "a jump to somewhere else is a new reader");
});
