import { deepStrictEqual } from "node:assert/strict";
import { inspect } from "node:util";
import fc from "fast-check";
import t from "tap";
import type { BlockSource } from "../../src/block-source.js";
import { VmmountError } from "../../src/errors.js";
import { BlockCache } from "../../src/fs/block/cache.js";
import { cached } from "../../src/fs/block/cached.js";
import { ExtentMap } from "../../src/fs/block/extent-map.js";
import { limited, readLimit } from "../../src/fs/block/limited.js";
import { metered, ReadMeter } from "../../src/fs/block/metered.js";
import { paced } from "../../src/fs/block/paced.js";
import { Parallelism } from "../../src/fs/block/parallelism.js";
import { Prefetcher } from "../../src/fs/block/prefetcher.js";
import { readAhead } from "../../src/fs/block/read-ahead.js";
import { retrying } from "../../src/fs/block/retrying.js";
import { sparse } from "../../src/fs/block/sparse.js";
import { imageFile } from "../../src/fs/image-file.js";
import { bytes, type Bytes } from "../../src/units.js";
import { faulty } from "../fixtures/block/faulty.js";
import { memorySource, patternBytes } from "../fixtures/block/memory.js";
import { holds } from "../fixtures/property.js";

/*
 * Goal: whatever readers, faults, holes and sizes meet in the whole block stack, a read gives exactly the disk's bytes
 * or an error, its buffer is left alone afterwards, and memory stays in its bound.
 *
 * Method: several readers with lists of random and sequential reads run at once over one stack, some give up half way;
 * the source below fails and is slow by a seeded generator; every buffer is compared with a plain array.
 */

const SECTOR = 512;
const { signal: never } = new AbortController();

interface Read {
  readonly at: number;
  readonly length: number;
  /** The reader gives up after this many turns of the microtask queue. */
  readonly patience: number | undefined;
}

interface Setting {
  readonly sectors: number;
  readonly blockSectors: number;
  readonly cacheBlocks: number;
  readonly ahead: number;
  readonly parallel: number;
  readonly holes: readonly number[];
  /** Of 100 reads below, how many fail; and of those how many for good. */
  readonly failing: number;
  readonly failingForGood: number;
  readonly seed: number;
  readonly readers: readonly (readonly Read[])[];
}

const settings: fc.Arbitrary<Setting> = fc
  .record({ sectors: fc.integer({ min: 1, max: 200 }), blockSectors: fc.constantFrom(1, 2, 4, 8, 16) })
  .chain(({ sectors, blockSectors }) => {
    const size = sectors * SECTOR;
    const patience = fc.option(fc.nat(40), { nil: undefined, freq: 4 });
    const random = fc.tuple(fc.nat(size), fc.nat(size), patience).map(([a, b, patience]) => ({
      at: Math.min(a, b),
      length: Math.abs(a - b),
      patience,
    }));
    // Fragments are a sixteenth of a block; these reads are smaller still.
    const small = fc.tuple(fc.nat(size - 1), fc.integer({ min: 1, max: 40 })).map(([at, length]) => ({
      at,
      length: Math.min(length, size - at),
      patience: undefined,
    }));
    const sequential = fc.integer({ min: 256, max: 8192 }).map((step) =>
      Array.from({ length: Math.ceil(size / step) }, (_, i) => ({
        at: i * step,
        length: Math.min(step, size - i * step),
        patience: undefined,
      })),
    );
    return fc.record({
      sectors: fc.constant(sectors),
      blockSectors: fc.constant(blockSectors),
      cacheBlocks: fc.integer({ min: 2, max: 40 }),
      ahead: fc.nat(8),
      parallel: fc.integer({ min: 1, max: 4 }),
      holes: fc.array(fc.nat(sectors - 1), { maxLength: 100 }),
      failing: fc.constantFrom(0, 5, 30),
      failingForGood: fc.constantFrom(0, 20),
      seed: fc.integer(),
      readers: fc.array(fc.oneof(fc.array(random, { maxLength: 12 }), fc.array(small, { maxLength: 60 }), sequential), {
        minLength: 1,
        maxLength: 4,
      }),
    });
  });

/** A small generator, so that faults and delays follow from the seed. */
function dice(seed: number): (below: number) => number {
  let state = seed | 1;
  return (below) => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) % below;
  };
}

function slow(below: BlockSource, roll: (below: number) => number): BlockSource {
  return {
    ...below,
    async read(into, at, options) {
      for (let turns = roll(20); turns > 0; turns--) await Promise.resolve();
      await below.read(into, at, options);
    },
  };
}

async function buildStack(content: Uint8Array, setting: Setting) {
  const roll = dice(setting.seed);
  const disk = memorySource(content, { granularity: SECTOR });
  const map = await ExtentMap.collect(disk.size, disk.extents?.(bytes(0), disk.size, { signal: never }) ?? [], {
    rangesMax: 1 + roll(60),
  });
  const meter = new ReadMeter();
  const blockBytes = setting.blockSectors * SECTOR;
  const parallelism = new Parallelism(setting.parallel);
  const cache = new BlockCache({
    bytesMax: setting.cacheBlocks * blockBytes,
    blockBytes,
    parallel: () => parallelism.target,
  });
  const broken = faulty(slow(disk, roll), () =>
    roll(100) < setting.failing ? { retryable: roll(100) >= setting.failingForGood } : undefined,
  );
  const asked = retrying(limited(paced(metered(broken, meter), parallelism), readLimit(setting.parallel)), {
    policy: { retriesMax: 3, delayMs: 0, delayMsMax: 0 },
    deadlineMs: 60_000,
  });
  const prefetcher = new Prefetcher(cache, { windowMax: setting.ahead });
  const source = readAhead(cached(sparse(asked, map), cache), { prefetcher, map });
  const image = imageFile(source, map);
  return { source, image, cache, meter };
}

async function readAs(
  reads: readonly Read[],
  content: Uint8Array,
  file: { read(into: Uint8Array, at: Bytes, options: { signal: AbortSignal }): Promise<void> },
): Promise<{ into: Uint8Array; expected: Uint8Array }[]> {
  const kept: { into: Uint8Array; expected: Uint8Array }[] = [];
  for (const { at, length, patience } of reads) {
    const into = new Uint8Array(length).fill(0xa5);
    const leaving = new AbortController();
    const reading = file.read(into, bytes(at), { signal: leaving.signal }).then(
      () => undefined,
      (error: unknown) => error,
    );
    if (patience !== undefined) {
      for (let turns = patience; turns > 0; turns--) await Promise.resolve();
      leaving.abort(new Error("gave up"));
    }
    const error = await reading;
    if (error === undefined) {
      kept.push({ into, expected: content.subarray(at, at + length) });
    } else {
      deepStrictEqual(leaving.signal.aborted || error instanceof VmmountError, true, inspect(error));
      // After a rejection the buffer is the reader's again: nobody may write to it any more.
      kept.push({ into: into.fill(0x5a), expected: into.slice() });
    }
  }
  return kept;
}

void t.test("the block stack reads like a plain buffer", async (t) => {
  const property = fc.asyncProperty(settings, async (setting) => {
    const content = patternBytes(setting.sectors * SECTOR);
    for (const sector of setting.holes) content.fill(0, sector * SECTOR, (sector + 1) * SECTOR);
    const { source, image, cache, meter } = await buildStack(content, setting);
    const results = await Promise.all(
      setting.readers.map(async (reads) => {
        const file = image.open();
        const kept = await readAs(reads, content, file);
        file.release();
        return kept;
      }),
    );
    const { cachedBytes, inFlightBytes } = cache.statistics;
    deepStrictEqual(cachedBytes + inFlightBytes <= setting.cacheBlocks * cache.blockBytes, true);
    await source[Symbol.asyncDispose]();
    deepStrictEqual(meter.reading.inFlight, 0);
    deepStrictEqual(meter.reading.inFlightMax <= setting.parallel, true);
    deepStrictEqual(cache.statistics.inFlightBytes, 0);
    for (const { into, expected } of results.flat()) deepStrictEqual(Buffer.compare(into, expected), 0);
  });
  await holds(t, property, { runs: 400 });
});
