import { setTimeout as sleep } from "node:timers/promises";
import fc from "fast-check";
import t from "tap";
import type { BlockSource } from "../../src/block-source.js";
import { BlockCache } from "../../src/fs/block/cache.js";
import { cached } from "../../src/fs/block/cached.js";
import { Prefetcher } from "../../src/fs/block/prefetcher.js";
import { readAhead } from "../../src/fs/block/read-ahead.js";
import { bytes } from "../../src/units.js";
import { patternBytes } from "../fixtures/block/memory.js";
import { randomInt } from "node:crypto";

/*
 * Goal: two disks that share a cache of two to six blocks read right, end, and leave nothing in it, whatever fails and whoever
 * gives up.
 *
 * Method: readers with read-ahead, sequential and random, some of whom leave; loads take a few milliseconds and some fail for
 * good. A read that hangs for 3 s, a wrong byte, a byte written after a rejection and memory in use after both disks are closed
 * each end the test with its seed.
 */

const BLOCK = 4096;
const contents = [patternBytes(40 * BLOCK + 777), patternBytes(30 * BLOCK).map((b) => b ^ 0x5a)];

for (const failures of [0, 3]) {
  void t.test(`bytes, ends and memory, ${failures} of 30 loads fail`, { timeout: 90_000 }, async (t) => {
    const property = fc.asyncProperty(
      fc.integer({ min: 2, max: 6 }),
      fc.array(
        fc.record({
          disk: fc.nat(1),
          at: fc.nat(31 * BLOCK),
          length: fc.integer({ min: 1, max: 3 * BLOCK }),
          small: fc.boolean(),
          run: fc.nat(6),
          abortMs: fc.nat(60),
        }),
        { minLength: 10, maxLength: 60 },
      ),
      fc.array(fc.nat(29), { minLength: 1, maxLength: 50 }),
      async (room, reads, dice) => {
        let n = 0;
        const cache = new BlockCache({ bytesMax: room * BLOCK, blockBytes: BLOCK });
        const prefetcher = new Prefetcher(cache, { windowMax: 16 });
        const disks = contents.map((content): BlockSource => ({
          size: bytes(content.length),
          async read(into, at, { signal }) {
            signal.throwIfAborted();
            const die = dice[n++ % dice.length] ?? 0;
            if (die % 4 > 0) await sleep(die % 4);
            if (die < failures) throw new Error("broken");
            signal.throwIfAborted();
            into.set(content.subarray(at, at + into.length));
          },
          [Symbol.asyncDispose]: () => Promise.resolve(),
        }));
        const stacks = disks.map((disk) => readAhead(cached(disk, cache), { prefetcher }));
        const bound = (what: string, p: Promise<unknown>) =>
          Promise.race([
            p,
            sleep(3000).then(() => {
              throw new Error(`HANG ${what} ${JSON.stringify(cache.statistics)}`);
            }),
          ]);
        const work = Promise.all(
          reads.map(async ({ disk, at, length, small, run, abortMs }) => {
            const stack = stacks[disk]?.reader?.();
            const content = contents[disk];
            if (stack === undefined || content === undefined) return;
            const size = small ? Math.min(length, 200) : length;
            for (let i = 0, here = at; i <= run; i++, here += size) {
              const take = Math.min(size, content.length - here);
              if (take <= 0) break;
              const into = new Uint8Array(take);
              const c = new AbortController();
              const timer =
                abortMs < 5
                  ? setTimeout(() => {
                      c.abort(new Error("left"));
                    }, abortMs)
                  : undefined;
              const ok = await stack.read(into, bytes(here), { signal: c.signal }).then(
                () => true,
                () => false,
              );
              clearTimeout(timer);
              if (ok && Buffer.compare(into, content.subarray(here, here + take)) !== 0) throw new Error("WRONG BYTES");
              if (!ok) {
                const before = Buffer.from(into);
                await sleep(2);
                if (Buffer.compare(before, into) !== 0) throw new Error("LATE WRITE");
              }
            }
            await stack[Symbol.asyncDispose]();
          }),
        );
        await bound("read", work);
        await bound("close 0", Promise.resolve(stacks[0]?.[Symbol.asyncDispose]()));
        const { inFlightBytes } = cache.statistics;
        await bound("close 1", Promise.resolve(stacks[1]?.[Symbol.asyncDispose]()));
        if (cache.statistics.inFlightBytes !== 0 || cache.statistics.cachedBytes !== 0)
          throw new Error(`LEAK ${JSON.stringify(cache.statistics)} before ${inFlightBytes}`);
      },
    );
    const seed = Number(process.env["VMMOUNT_TEST_SEED"] ?? randomInt(2 ** 31));
    // Shrinking would take minutes: each hang lasts 3 s.
    await fc.assert(property, { numRuns: 80, seed, endOnFailure: true }).then(
      () => t.pass(`seed ${seed}`),
      (e: unknown) => t.fail(`seed ${seed}: ${String((e as Error).cause ?? e).slice(0, 600)}`),
    );
  });
}
