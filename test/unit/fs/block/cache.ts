import t from "tap";
import { BlockCache } from "../../../../src/fs/block/cache.js";
import { cached } from "../../../../src/fs/block/cached.js";
import { bytes } from "../../../../src/units.js";
import { gatedSource } from "../../../fixtures/block/gated.js";
import { memorySource, patternBytes } from "../../../fixtures/block/memory.js";

const BLOCK = 1024;
const { signal } = new AbortController();
const nobody = (): void => undefined;

/** A gated disk of `blocks` blocks behind a cache with room for `room`. */
function setUp(blocks: number, room: number) {
  const content = patternBytes(blocks * BLOCK);
  const disk = gatedSource(content);
  const cache = new BlockCache({ bytesMax: room * BLOCK, blockBytes: BLOCK });
  const source = cached(disk, cache);
  const read = async (block: number, readSignal = signal): Promise<boolean> => {
    const into = new Uint8Array(BLOCK);
    // Of no stream: such a block stays as long as there is room.
    await source.readAs("random", into, bytes(block * BLOCK), { signal: readSignal });
    return Buffer.compare(into, content.subarray(block * BLOCK, (block + 1) * BLOCK)) === 0;
  };
  const finishAll = (): void => {
    for (const waiting of [...disk.waiting]) waiting.finish();
  };
  return { content, disk, cache, source, read, finishAll };
}

void t.test("BlockCache() wants room for two blocks", (t) => {
  t.throws(() => new BlockCache({ bytesMax: 2 * BLOCK - 1, blockBytes: BLOCK }), RangeError);
  t.throws(() => new BlockCache({ bytesMax: 10, blockBytes: 0 }), RangeError);
  t.equal(new BlockCache({ bytesMax: 2.5 * BLOCK, blockBytes: BLOCK }).blocksMax, 2);
  t.equal(new BlockCache({ bytesMax: 2 ** 28 }).blockBytes, 2 ** 20);
  t.end();
});

void t.test("concurrent readers of one block share one load", async (t) => {
  const { disk, cache, read, finishAll } = setUp(4, 4);
  const readers = [read(1), read(1), read(1)];
  await disk.untilWaiting(1);
  finishAll();
  t.strictSame(await Promise.all(readers), [true, true, true]);
  t.ok(await read(1));
  t.strictSame(disk.offsets, [BLOCK]);
  t.match(cache.statistics, { hits: 1, misses: 3, loads: 1, cachedBytes: BLOCK, inFlightBytes: 0 });
});

void t.test("more blocks loading than fit: every reader gets its data, and the bound holds", async (t) => {
  const { disk, cache, read } = setUp(8, 4);
  const readers = Array.from({ length: 8 }, (_, block) => read(block));
  for (let left = 8; left > 0; left--) {
    await disk.untilWaiting(Math.min(left, 4));
    const { cachedBytes, inFlightBytes } = cache.statistics;
    t.ok(cachedBytes + inFlightBytes <= 4 * BLOCK, `${cachedBytes} cached, ${inFlightBytes} in flight`);
    disk.waiting[0]?.finish();
  }
  t.strictSame(await Promise.all(readers), new Array(8).fill(true));
  t.match(cache.statistics, { evictions: 4, cachedBytes: 4 * BLOCK, inFlightBytes: 0 });
});

void t.test("the least recently used block goes first", async (t) => {
  const { disk, read, finishAll } = setUp(4, 2);
  for (const block of [0, 1]) {
    const reading = read(block);
    await disk.untilWaiting(1);
    finishAll();
    await reading;
  }
  t.ok(await read(0));
  const reading = read(2);
  await disk.untilWaiting(1);
  finishAll();
  t.ok(await reading);
  t.ok(await read(0), "the block used last is still there");
  const again = read(1);
  await disk.untilWaiting(1);
  finishAll();
  t.ok(await again);
  t.strictSame(disk.offsets, [0, BLOCK, 2 * BLOCK, BLOCK]);
});

void t.test("a block that a sequential reader has passed goes before all others", async (t) => {
  const content = patternBytes(4 * BLOCK);
  const cache = new BlockCache({ bytesMax: 2 * BLOCK, blockBytes: BLOCK });
  const source = cached(memorySource(content), cache);
  const read = (pattern: "random" | "sequential", block: number) =>
    source.readAs(pattern, new Uint8Array(BLOCK), bytes(block * BLOCK), { signal });
  await read("random", 0);
  t.equal(await read("sequential", 1), "waited");
  t.equal(await read("sequential", 1), "hit", "it is there as long as nobody needs the room");
  await read("random", 2);
  t.equal(await read("random", 0), "hit");
  t.equal(await read("random", 1), "waited");
});

void t.test("a block that was loaded ahead and goes unread is told of; a read one is not", async (t) => {
  const cache = new BlockCache({ bytesMax: 4 * BLOCK, blockBytes: BLOCK });
  const source = cached(memorySource(patternBytes(8 * BLOCK)), cache);
  const wasted: number[] = [];
  for (const block of [0, 1]) source.prefetch(block, () => wasted.push(block));
  await source.readAs("random", new Uint8Array(1), bytes(0), { signal });
  for (const block of [2, 3, 4, 5, 6]) {
    await source.readAs("random", new Uint8Array(BLOCK), bytes(block * BLOCK), { signal });
  }
  t.strictSame(wasted, [1]);
  t.match(cache.statistics, { prefetches: 2, wasted: 1 });
});

void t.test("a reader that gives up does not end the load of the others", async (t) => {
  const { disk, read, finishAll } = setUp(4, 4);
  const leaving = new AbortController();
  const left = read(0, leaving.signal);
  const stayed = read(0);
  await disk.untilWaiting(1);
  leaving.abort(new Error("gave up"));
  await t.rejects(left, { message: "gave up" });
  finishAll();
  t.ok(await stayed);
});

void t.test("a load that all readers have left ends in the cache", async (t) => {
  const { disk, cache, read, finishAll } = setUp(4, 4);
  const leaving = new AbortController();
  const left = read(0, leaving.signal);
  await disk.untilWaiting(1);
  leaving.abort("not even an error");
  await t.rejects(left, { message: "Cannot finish a read: it was given up" });
  finishAll();
  await disk.untilWaiting(0);
  t.ok(await read(0));
  t.equal(cache.statistics.loads, 1);
});

void t.test("a failed load is not kept and spoils nothing beside it", async (t) => {
  const { content, disk, source, read, finishAll } = setUp(4, 4);
  const across = source.read(new Uint8Array(3 * BLOCK), bytes(0), { signal });
  const joined = read(1);
  const neighbour = read(2);
  await disk.untilWaiting(3);
  disk.waiting.find(({ at }) => at === BLOCK)?.finish(new Error("broken"));
  finishAll();
  await t.rejects(across, { message: "broken" });
  await t.rejects(joined, { message: "broken" });
  t.ok(await neighbour);
  const again = source.read(new Uint8Array(3 * BLOCK), bytes(0), { signal });
  await disk.untilWaiting(1);
  finishAll();
  await again;
  t.strictSame(disk.offsets, [0, BLOCK, 2 * BLOCK, BLOCK]);
  t.equal(content.length, source.size);
});

void t.test("a load that fails makes room for one that waits in line", async (t) => {
  const { disk, read } = setUp(4, 2);
  const readers = [read(0), read(1), read(2)];
  await disk.untilWaiting(2);
  disk.waiting[0]?.finish(new Error("broken"));
  await t.rejects(readers[0] ?? read(0), { message: "broken" });
  await disk.untilWaiting(2);
  disk.waiting[1]?.finish();
  disk.waiting[0]?.finish();
  t.strictSame(await Promise.all(readers.slice(1)), [true, true]);
});

void t.test("a failed prefetch is nobody's failure", async (t) => {
  const { disk, source, read, finishAll } = setUp(4, 4);
  t.equal(source.prefetch(0, nobody), "started");
  t.equal(source.prefetch(0, nobody), "there", "already on its way");
  await disk.untilWaiting(1);
  disk.waiting[0]?.finish(new Error("broken"));
  await disk.untilWaiting(0);
  const reading = read(0);
  await disk.untilWaiting(1);
  finishAll();
  t.ok(await reading);
  t.equal(source.prefetch(0, nobody), "there", "already there");
  t.equal(source.prefetch(4, nobody), "there", "beyond the end there is nothing to load");
  t.equal(disk.offsets.length, 2);
});

void t.test("prefetch takes half of the room and leaves the rest to readers", async (t) => {
  const { disk, source, read, finishAll } = setUp(8, 4);
  t.strictSame(
    [0, 1, 2, 3].map((block) => source.prefetch(block, nobody)),
    ["started", "started", "no room", "no room"],
  );
  const reading = read(7);
  await disk.untilWaiting(3);
  finishAll();
  t.ok(await reading);
});

void t.test("sources share the room and keep their blocks apart", async (t) => {
  const cache = new BlockCache({ bytesMax: 4 * BLOCK, blockBytes: BLOCK });
  const contents = [patternBytes(2 * BLOCK), patternBytes(2 * BLOCK).map((byte) => byte ^ 0xff)];
  const sources = contents.map((content) => cached(memorySource(content), cache));
  for (let round = 0; round < 2; round++) {
    for (const [i, source] of sources.entries()) {
      const into = new Uint8Array(2 * BLOCK);
      await source.read(into, bytes(0), { signal });
      t.equal(Buffer.compare(into, contents[i] ?? into.fill(0)), 0);
    }
  }
  t.match(cache.statistics, { loads: 4, hits: 4 });
  await sources[0]?.[Symbol.asyncDispose]();
  t.match(cache.statistics, { cachedBytes: 2 * BLOCK, inFlightBytes: 0 });
  await sources[1]?.[Symbol.asyncDispose]();
  t.match(cache.statistics, { cachedBytes: 0, inFlightBytes: 0 });
});

void t.test("disposing ends loads and readers, then the source below", async (t) => {
  const { disk, source, read } = setUp(8, 2);
  const readers = [read(0), read(1), read(2)].map((reading) => t.rejects(reading, { message: /has been closed/ }));
  await disk.untilWaiting(2);
  await source[Symbol.asyncDispose]();
  await Promise.all(readers);
  t.equal(disk.isClosed, true);
  t.equal(disk.waiting.length, 0);
  await t.rejects(read(0), { message: /has been closed/ });
  t.equal(source.prefetch(0, nobody), "there", "there is nothing to wait for");
});

void t.test("a reader's patience ends whether it waits for memory or for the server", async (t) => {
  const disk = gatedSource(patternBytes(8 * BLOCK));
  const givenUp: string[] = [];
  const patience = {
    waitMs: 50,
    onGivenUp: (error: Error): void => {
      givenUp.push(error.message);
    },
  };
  const source = cached(disk, new BlockCache({ bytesMax: 2 * BLOCK, blockBytes: BLOCK, patience }));
  const reads = [0, 1, 2, 3].map((block) => source.read(new Uint8Array(BLOCK), bytes(block * BLOCK), { signal }));
  for (const read of reads) await t.rejects(read, { name: "DiskIoError", message: /within 0.05 s/ });
  t.equal(disk.waiting.length, 2, "loads go on for whoever comes next");
  t.equal(givenUp.length, 4);
  for (const waiting of [...disk.waiting]) waiting.finish();
});
