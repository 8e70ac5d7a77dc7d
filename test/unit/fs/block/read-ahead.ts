import { setImmediate as turn } from "node:timers/promises";
import t from "tap";
import type { BlockSource } from "../../../../src/block-source.js";
import { BlockCache, type ReadOutcome } from "../../../../src/fs/block/cache.js";
import { cached, type CachedSource, type ReadPattern } from "../../../../src/fs/block/cached.js";
import { ExtentMap } from "../../../../src/fs/block/extent-map.js";
import { Prefetcher } from "../../../../src/fs/block/prefetcher.js";
import { readAhead } from "../../../../src/fs/block/read-ahead.js";
import { bytes, KIB, MIB } from "../../../../src/units.js";
import { memorySource, patternBytes } from "../../../fixtures/block/memory.js";

const BLOCK = MIB;
const { signal } = new AbortController();

interface SetUp {
  readonly windowMax?: number;
  readonly cacheBlocks?: number;
  readonly map?: ExtentMap;
}

/** A disk of `blocks` blocks without bytes, that notes which blocks are asked for; every read has to wait for it. */
function setUp(blocks: number, { windowMax = 8, cacheBlocks = 128, map }: SetUp = {}) {
  const asked: number[] = [];
  const patterns: ReadPattern[] = [];
  const wasted = new Map<number, () => void>();
  const now = { room: true, outcome: "waited" as ReadOutcome, ms: 0 };
  const cache = new BlockCache({ bytesMax: cacheBlocks * 512, blockBytes: 512 });
  const below: CachedSource = {
    size: bytes(blocks * BLOCK),
    read: () => Promise.resolve(),
    readAs: (pattern) => {
      patterns.push(pattern);
      return Promise.resolve(now.outcome);
    },
    blockBytes: BLOCK,
    prefetch: (block, onWasted) => {
      if (!now.room) return "no room";
      asked.push(block);
      wasted.set(block, onWasted);
      return "started";
    },
    [Symbol.asyncDispose]: () => Promise.resolve(),
  };
  const prefetcher = new Prefetcher(cache, { windowMax, now: () => now.ms });
  const source = readAhead(below, { prefetcher, map });
  const reads =
    (reader: typeof source) =>
    async (at: number, length: number): Promise<number[]> => {
      asked.length = 0;
      await reader.read(new Uint8Array(length * BLOCK), bytes(at * BLOCK), { signal });
      return [...asked];
    };
  return {
    now,
    cache,
    patterns,
    /** Throws a block away as the cache does. */
    waste: (block: number) => wasted.get(block)?.(),
    /** Reads `length` bytes at `at` (in blocks) and tells what that made it ask for. */
    read: reads(source),
    /** The same for another open file of the disk. */
    openAnother: () => {
      const reader = source.reader?.() ?? source;
      return { read: reads(reader), close: () => reader[Symbol.asyncDispose]() };
    },
  };
}

void t.test("while a copy has to wait, the distance doubles, up to the maximum", async (t) => {
  const { read, now } = setUp(100);
  t.strictSame(await read(0, 1), [1, 2, 3, 4]);
  t.strictSame(await read(1, 1), [5]);
  t.strictSame(await read(2, 1), [6, 7, 8, 9, 10]);
  now.outcome = "hit";
  for (let at = 3; at < 20; at++) t.strictSame(await read(at, 1), [at + 8], "a full window moves along");
});

void t.test("a reader that never waits keeps the smallest window", async (t) => {
  const { read, now } = setUp(100);
  now.outcome = "hit";
  t.strictSame(await read(0, 1), [1, 2]);
  for (let at = 1; at < 10; at++) t.strictSame(await read(at, 1), [at + 2]);
});

void t.test("a read in the middle asks for nothing, a second one that follows does", async (t) => {
  const { read, patterns } = setUp(100);
  t.strictSame(await read(40, 1), []);
  t.strictSame(await read(41, 1), [42, 43, 44, 45]);
  t.strictSame(patterns, ["random", "sequential"]);
});

void t.test("random reads ask for nothing", async (t) => {
  const { read, patterns } = setUp(1000);
  for (const at of [500, 20, 900, 333, 700, 111]) t.strictSame(await read(at, 1), []);
  t.notOk(patterns.includes("sequential"));
});

void t.test("small reads are no stream before they have proved it", async (t) => {
  const { read, patterns } = setUp(100);
  for (let i = 0; i < 64; i++) t.strictSame(await read(10 + i / 256, 1 / 256), []);
  t.strictSame((await read(10 + 64 / 256, 1 / 256)).slice(0, 2), [11, 12]);
  t.equal(patterns.filter((pattern) => pattern === "random").length, 64);
});

void t.test("small reads do not grow the distance faster than they consume", async (t) => {
  const { read } = setUp(100);
  t.strictSame(await read(0, 1 / 256), [1, 2, 3, 4]);
  for (let i = 1; i < 256; i++) t.strictSame(await read(i / 256, 1 / 256), []);
});

void t.test("reads of one stream may come out of order", async (t) => {
  const { read } = setUp(100);
  await read(0, 1);
  t.ok((await read(2, 1)).every((block) => block > 4));
  t.strictSame(await read(1, 1), []);
  t.ok((await read(3, 1)).every((block) => block > 4));
});

void t.test("a reader that jumps away starts over, and what it left shrinks", async (t) => {
  const { read, now } = setUp(1000);
  for (let at = 0; at < 10; at++) await read(at, 1);
  t.strictSame(await read(500, 1), []);
  t.strictSame(await read(501, 1), [502, 503, 504, 505]);
  now.outcome = "hit";
  t.strictSame(await read(10, 1), [], "eight blocks were ahead; four are wanted now");
});

void t.test("four readers of one file are told apart", async (t) => {
  const { read } = setUp(1000);
  const starts = [100, 300, 500, 700];
  for (const start of starts) await read(start, 1);
  for (const start of starts) t.strictSame((await read(start + 1, 1)).slice(0, 2), [start + 2, start + 3]);
  await read(900, 1);
  t.strictSame(await read(102, 1), [], "the fifth replaced the one idle for longest");
});

void t.test("open files do not know each other's streams", async (t) => {
  const { read, openAnother } = setUp(1000);
  const other = openAnother();
  await read(100, 1);
  t.strictSame(await other.read(101, 1), [], "the first read of this file");
  for (const at of [200, 300, 400, 500]) await other.read(at, 1);
  t.ok((await read(101, 1)).length > 0, "five places elsewhere have replaced nothing here");
  await other.close();
});

void t.test("streams share half of the cache; one that ends or idles gives its share back", async (t) => {
  const { read, openAnother, now } = setUp(1000, { cacheBlocks: 16, windowMax: 64 });
  const ahead = async (reader: typeof read, from: number): Promise<number> => {
    const asked: number[] = [];
    for (let at = from; at < from + 40; at++) asked.push(...(await reader(at, 1)));
    return Math.max(...asked) - (from + 39);
  };
  t.equal(await ahead(read, 0), 8, "half of 16 blocks");
  const other = openAnother();
  t.equal(await ahead(other.read, 500), 4);
  await other.close();
  t.equal(await ahead(read, 40), 8);
  const idle = openAnother();
  await ahead(idle.read, 700);
  now.ms += 10_001;
  t.equal(await ahead(read, 80), 8);
});

void t.test("a block thrown away unread halves the window and stops its growth for a while", async (t) => {
  const { read, waste, now } = setUp(1000);
  for (let at = 0; at < 10; at++) await read(at, 1);
  waste(17);
  waste(16);
  t.strictSame(await read(10, 1), []);
  for (let at = 11; at < 30; at++) t.ok((await read(at, 1)).every((block) => block <= at + 2));
  now.ms += 5_001;
  t.ok((await read(30, 1)).includes(34));
});

void t.test(
  "over a real cache: blocks that another disk pushes out unread are counted, and the window shrinks",
  async (t) => {
    const SMALL = 4 * KIB;
    const now = { ms: 0 };
    const cache = new BlockCache({ bytesMax: 8 * SMALL, blockBytes: SMALL });
    const prefetcher = new Prefetcher(cache, { windowMax: 16, now: () => now.ms });
    const content = patternBytes(32 * SMALL);
    const memory = memorySource(content);
    const asked: number[] = [];
    const noting: BlockSource = {
      ...memory,
      read: (into, at, options) => {
        asked.push(at / SMALL);
        return memory.read(into, at, options);
      },
    };
    const source = readAhead(cached(noting, cache), { prefetcher });
    const read = async (block: number): Promise<number[]> => {
      asked.length = 0;
      const into = new Uint8Array(SMALL);
      await source.read(into, bytes(block * SMALL), { signal });
      // Loads ahead of it from memory end within some turns of the event loop.
      for (let turns = 0; turns < 20; turns++) await turn();
      t.ok(Buffer.from(into).equals(content.subarray(block * SMALL, (block + 1) * SMALL)));
      return [...asked];
    };
    t.strictSame(await read(0), [0, 1, 2, 3, 4], "half of the cache");
    t.match(cache.statistics, { prefetches: 4, wasted: 0 });
    const other = cached(memorySource(content), cache);
    for (let block = 0; block < 8; block++) {
      await other.readAs("random", new Uint8Array(3 * KIB), bytes(block * SMALL), { signal });
    }
    t.match(cache.statistics, { prefetches: 4, wasted: 4 });
    t.strictSame(await read(1), [1], "with two blocks ahead 5 is too far");
    t.strictSame(await read(2), [2]);
    t.strictSame(await read(3), [3, 5]);
    now.ms += 5_001;
    t.strictSame(await read(4), [4, 6, 7, 8], "later it grows again");
  },
);

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
  t.strictSame(await read(0, 1), [1, 52, 53]);
  t.strictSame(await read(1, 1), []);
  t.strictSame(await read(2, 1), []);
});

void t.test("without room it asks when there is room again, in order", async (t) => {
  const { read, now, cache } = setUp(100);
  now.room = false;
  t.strictSame(await read(0, 1), []);
  now.room = true;
  const asked = read(1, 0);
  cache.onRoom();
  t.strictSame(await asked, [1, 2, 3, 4]);
});

void t.test("0 blocks is off", async (t) => {
  const { read } = setUp(100, { windowMax: 0 });
  t.strictSame(await read(0, 1), []);
  t.strictSame(await read(1, 1), []);
});

void t.test("a reader that jumps over holes from data to data keeps its distance", async (t) => {
  const extents = Array.from({ length: 20 }, (_, index) => [
    { kind: "data" as const, start: bytes(index * 50 * BLOCK), length: bytes(BLOCK / 16) },
    { kind: "hole" as const, start: bytes((index * 50 + 1 / 16) * BLOCK), length: bytes((50 - 1 / 16) * BLOCK) },
  ]).flat();
  const map = await ExtentMap.collect(bytes(1000 * BLOCK), extents);
  const { read } = setUp(1000, { map });
  t.strictSame(await read(0, 1 / 16), [50, 100, 150, 200], "the next data, however far");
  t.strictSame(await read(50, 1 / 16), [250]);
  t.strictSame(await read(100, 1 / 16), [300, 350, 400, 450, 500], "and further ahead while it has to wait");
  t.strictSame(await read(777, 1 / 16), [], "a jump to somewhere else is a new reader");
});
