import { setImmediate as tick } from "node:timers/promises";
import t from "tap";
import { BlockCache } from "../../../../src/fs/block/cache.js";
import { Fragments, type FragmentSlab } from "../../../../src/fs/block/fragments.js";
import { cached } from "../../../../src/fs/block/cached.js";
import { bytes } from "../../../../src/units.js";
import { faulty } from "../../../fixtures/block/faulty.js";
import { gatedSource } from "../../../fixtures/block/gated.js";
import { memorySource, patternBytes } from "../../../fixtures/block/memory.js";

const BLOCK = 16 * 1024;
const FRAGMENT = BLOCK / 16;
const { signal } = new AbortController();

/** A disk that notes what is read of it, behind a cache with room for `room` blocks. */
function setUp(blocks: number, room: number) {
  const content = patternBytes(blocks * BLOCK);
  const asked: { at: number; length: number }[] = [];
  const broken = new Set<number>();
  const disk = faulty(memorySource(content), ({ at, length }) => {
    asked.push({ at, length });
    return broken.has(at) ? { retryable: false } : undefined;
  });
  const cache = new BlockCache({ bytesMax: room * BLOCK, blockBytes: BLOCK });
  const source = cached(disk, cache);
  /** Reads `length` bytes at `at` and tells what that fetched. */
  const read = async (at: number, length: number): Promise<{ at: number; length: number }[]> => {
    asked.length = 0;
    const into = new Uint8Array(length);
    await source.readAs("random", into, bytes(at), { signal });
    if (Buffer.compare(into, content.subarray(at, at + length)) !== 0) throw new Error(`Wrong bytes at ${at}`);
    return [...asked];
  };
  return { cache, source, read, broken };
}

void t.test("a small random read fetches the fragments it needs, once", async (t) => {
  const { read, cache } = setUp(4, 4);
  t.strictSame(await read(BLOCK + 5 * FRAGMENT + 100, 200), [{ at: BLOCK + 5 * FRAGMENT, length: FRAGMENT }]);
  t.strictSame(await read(BLOCK + 5 * FRAGMENT, FRAGMENT), []);
  t.strictSame(await read(BLOCK + 6 * FRAGMENT - 1, 2), [{ at: BLOCK + 6 * FRAGMENT, length: FRAGMENT }]);
  t.match(cache.statistics, { inFlightBytes: BLOCK, cachedBytes: 0 }, "one slab is being filled");
});

void t.test("a read across blocks takes fragments of both", async (t) => {
  const { read } = setUp(4, 4);
  t.strictSame(await read(BLOCK - 1, 2), [
    { at: BLOCK - FRAGMENT, length: FRAGMENT },
    { at: BLOCK, length: FRAGMENT },
  ]);
});

void t.test("the fifth visit to a block, or a larger read, loads it as a whole", async (t) => {
  const { read } = setUp(4, 4);
  for (const index of [9, 3, 14, 0]) t.equal((await read(index * FRAGMENT, 1))[0]?.length, FRAGMENT);
  t.strictSame(await read(6 * FRAGMENT, 1), [{ at: 0, length: BLOCK }]);
  t.strictSame(await read(7 * FRAGMENT, 1), []);
  t.strictSame(await read(BLOCK + 10, 3 * FRAGMENT), [{ at: BLOCK, length: BLOCK }]);
});

void t.test("the last fragment ends with the disk", async (t) => {
  const content = patternBytes(BLOCK + 1500);
  const asked: number[] = [];
  const disk = faulty(memorySource(content), ({ length }) => {
    asked.push(length);
    return undefined;
  });
  const source = cached(disk, new BlockCache({ bytesMax: 4 * BLOCK, blockBytes: BLOCK }));
  const into = new Uint8Array(10);
  await source.readAs("random", into, bytes(BLOCK + 1490), { signal });
  t.strictSame([...into], [...content.subarray(BLOCK + 1490)]);
  t.strictSame(asked, [1500 - FRAGMENT]);
});

void t.test("readers of one fragment share a load; a failed one is not kept", async (t) => {
  const { read, broken } = setUp(4, 4);
  broken.add(0);
  await t.rejects(read(10, 1), { name: "DiskIoError" });
  broken.clear();
  t.equal((await read(10, 1)).length, 1);
  const content = patternBytes(BLOCK);
  const gated = gatedSource(content);
  const source = cached(gated, new BlockCache({ bytesMax: 4 * BLOCK, blockBytes: BLOCK }));
  const readers = [0, 1, 2].map((at) => source.readAs("random", new Uint8Array(1), bytes(at), { signal }));
  await gated.untilWaiting(1);
  gated.waiting[0]?.finish();
  t.strictSame(await Promise.all(readers), ["waited", "waited", "waited"]);
});

void t.test("fragments share the memory of blocks, come and go in slabs, and stay within the bound", async (t) => {
  const blocks = 200;
  const { read, cache, source } = setUp(blocks, 4);
  const visit = (round: number): number => (round * 37) % blocks;
  for (let round = 0; round < 300; round++) {
    await read(visit(round) * BLOCK + (round % 16) * FRAGMENT, 10);
    const { cachedBytes, inFlightBytes } = cache.statistics;
    if (cachedBytes + inFlightBytes > 4 * BLOCK) t.fail(`${cachedBytes} + ${inFlightBytes} bytes`);
  }
  t.ok(cache.statistics.evictions > 10);
  t.strictSame(await read(visit(299) * BLOCK + (299 % 16) * FRAGMENT, 10), [], "the newest are there");
  t.equal((await read(visit(0) * BLOCK, 10)).length, 1, "the oldest are not");
  await source[Symbol.asyncDispose]();
  t.match(cache.statistics, { cachedBytes: 0, inFlightBytes: 0 });
});

void t.test("more random reads at once than fit: all are answered, and the bound holds", async (t) => {
  const content = patternBytes(200 * BLOCK);
  const gated = gatedSource(content);
  const cache = new BlockCache({ bytesMax: 2 * BLOCK, blockBytes: BLOCK });
  const source = cached(gated, cache);
  const readers = Array.from({ length: 100 }, async (_, block) => {
    const into = new Uint8Array(8);
    await source.readAs("random", into, bytes(block * BLOCK), { signal });
    return Buffer.compare(into, content.subarray(block * BLOCK, block * BLOCK + 8));
  });
  for (let left = 100; left > 0;) {
    await gated.untilWaiting(Math.min(left, 32));
    const { cachedBytes, inFlightBytes } = cache.statistics;
    t.ok(cachedBytes + inFlightBytes <= 2 * BLOCK, `${left} left`);
    for (const waiting of [...gated.waiting]) {
      waiting.finish();
      left--;
    }
  }
  t.ok((await Promise.all(readers)).every((difference) => difference === 0));
});

void t.test("a slab is settled when it is full and nothing in it is loading; what failed is used again", async (t) => {
  const settled: FragmentSlab[] = [];
  const fragments = new Fragments(4, {
    acquire: () => Promise.resolve(new Uint8Array(12)),
    settle: (slab) => settled.push(slab),
  });
  const places = await Promise.all([fragments.reserve(), fragments.reserve(), fragments.reserve()]);
  places[0].keep(10);
  places[1].keep(11);
  t.equal(settled.length, 0, "one is loading");
  places[2].discard();
  t.equal(settled.length, 0, "one is free again");
  const again = await fragments.reserve();
  t.equal(again.bytes.byteOffset, places[2].bytes.byteOffset);
  again.keep(12);
  t.equal(settled.length, 1);
  t.ok(fragments.has(11));
  const [slab] = settled;
  if (slab !== undefined) fragments.forget(slab);
  t.notOk(fragments.has(11));
});

void t.test("a slab whose loads fail while the next one is waited for is not lost", async (t) => {
  const cache = new BlockCache({ bytesMax: 4 * BLOCK, blockBytes: BLOCK });
  const source = cache.register();
  const gates: { resolve: () => void; reject: (error: Error) => void }[] = [];
  const load = () => new Promise<void>((resolve, reject) => gates.push({ resolve, reject }));
  for (let leak = 0; leak < 2; leak++) {
    gates.length = 0;
    const fragments = Array.from({ length: 16 }, (_, n) =>
      cache.get(cache.fragmentKey(source, leak * 1000 + n), load, () => undefined, signal),
    );
    await tick();
    const blocks = Array.from({ length: 3 - leak }, (_, n) =>
      cache.get(cache.blockKey(source, leak * 1000 + 900 + n), load, () => undefined, signal),
    );
    await tick();
    const last = cache.get(cache.fragmentKey(source, leak * 1000 + 500), load, () => undefined, signal);
    const all = Promise.allSettled([...fragments, ...blocks, last]);
    await tick();
    for (const { reject } of gates.slice(0, 16)) reject(new Error("the connection broke"));
    await tick();
    for (const { resolve } of gates.slice(16)) resolve();
    await tick();
    for (const { resolve } of gates.slice(16)) resolve();
    await all;
  }
  t.equal(cache.statistics.inFlightBytes, BLOCK, "only the slab that is being filled");
});
