import { ok, strictEqual } from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import fc from "fast-check";
import t from "tap";
import type { BlockSource, Extent } from "../../src/block-source.js";
import { kernelFuseDriver } from "../../src/fs/fuse/kernel-driver.js";
import { imageFile } from "../../src/fs/image-file.js";
import { ImageTree } from "../../src/fs/image-tree.js";
import { silentLogger } from "../../src/log.js";
import { BlockStack } from "../../src/mount/block-stack.js";
import { memoryShares } from "../../src/mount/memory-shares.js";
import type { Settings } from "../../src/settings.js";
import { bytes, KIB, MIB } from "../../src/units.js";
import { faulty } from "../fixtures/block/faulty.js";
import { localFileSource } from "../fixtures/block/local-file.js";
import { run } from "../fixtures/host/command-line.js";
import { mountRequest } from "../fixtures/mount/mount-request.js";
import { cannotMount } from "../fixtures/mounting.js";
import { holds } from "../fixtures/property.js";

/*
 * Goal: whatever many threads of another process read from a mounted image, at whatever place and in whatever way, they get
 * the disk's bytes, while reads below fail and are slow; afterwards nothing is open, running or beyond its bound.
 *
 * Method: a real mount of the whole stack over a file with holes; a Python program follows a plan of reads in threads and
 * compares each with the plain file. Faults that pass and delays are injected below the stack by a seeded generator.
 */

const COMPARE = fileURLToPath(new URL("../fixtures/programs/compare-reads.py", import.meta.url));
const SIZE = 24 * MIB + 1536;
const HOLES: readonly (readonly [start: number, end: number])[] = [
  [2 * MIB, 7 * MIB],
  [9 * MIB + 64 * KIB, 9 * MIB + 192 * KIB],
  [20 * MIB, 23 * MIB + 512 * KIB],
];

type Step = readonly [how: string, at: number, length: number];

interface Plan {
  readonly threads: readonly (readonly Step[])[];
  readonly seed: number;
  readonly cacheBytes: number;
  readonly blockBytes: number;
  /** Of 100 reads below, how many fail in passing. */
  readonly failing: number;
  readonly delayMsMax: number;
}

const how = fc.constantFrom("read", "read", "direct", "map");
const jumps = fc.array(
  fc
    .tuple(how, fc.nat(SIZE - 1), fc.integer({ min: 1, max: 300 * KIB }))
    .map(([how, at, length]): Step => [how, at, length]),
  { minLength: 1, maxLength: 60 },
);
const small = fc.array(
  fc
    .tuple(how, fc.nat(SIZE - 1), fc.integer({ min: 1, max: 8 * KIB }))
    .map(([how, at, length]): Step => [how, at, length]),
  { minLength: 1, maxLength: 60 },
);
const walks = fc
  .tuple(how, fc.nat(SIZE - 1), fc.integer({ min: 16 * KIB, max: MIB }))
  .map(([how, from, step]) =>
    Array.from({ length: 40 }, (_, index): Step => [how, from + index * step, step]).filter(([, at]) => at < SIZE),
  );
const plans: fc.Arbitrary<Plan> = fc.record({
  threads: fc.array(fc.oneof(jumps, small, walks), { minLength: 2, maxLength: 6 }),
  seed: fc.integer(),
  cacheBytes: fc.constantFrom(8 * MIB, 16 * MIB, 64 * MIB),
  blockBytes: fc.constantFrom(64 * KIB, 256 * KIB, MIB),
  failing: fc.constantFrom(0, 5, 20),
  delayMsMax: fc.constantFrom(0, 0, 4, 15),
});

/** Faults and delays that follow from the seed. */
function troubled(below: BlockSource, { seed, failing, delayMsMax }: Plan): BlockSource {
  let state = seed | 1;
  const roll = (under: number): number => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) % under;
  };
  const slow: BlockSource = {
    size: below.size,
    async read(into, at, options) {
      if (delayMsMax > 0) await sleep(roll(delayMsMax + 1));
      await below.read(into, at, options);
    },
    async *extents(): AsyncGenerator<Extent> {
      let at = 0;
      for (const [start, end] of HOLES) {
        yield await Promise.resolve({ kind: "data", start: bytes(at), length: bytes(start - at) });
        yield { kind: "hole", start: bytes(start), length: bytes(end - start) };
        at = end;
      }
      yield { kind: "data", start: bytes(at), length: bytes(below.size - at) };
    },
    [Symbol.asyncDispose]: () => Promise.resolve(below[Symbol.asyncDispose]()),
  };
  return faulty(slow, () => (roll(100) < failing ? { retryable: true } : undefined));
}

async function follow(plan: Plan, plain: string, where: string): Promise<void> {
  const settings: Settings = {
    ...mountRequest().settings,
    "mount.cache_size": bytes(plan.cacheBytes),
    "mount.block_size": bytes(plan.blockBytes),
    "read.retries": 100,
  };
  const logger = silentLogger();
  const stack = new BlockStack(settings, logger, { firstRetryMs: 0 });
  const { signal } = new AbortController();
  const below = troubled(await localFileSource(plain), plan);
  const { source, extents } = await stack.stack(below, "disk", { kind: "remote", signal });
  const file = {
    kind: "file" as const,
    name: "disk",
    identity: "disk",
    timeMs: 0,
    content: imageFile(source, extents),
  };
  const tree = new ImageTree([file], { mode: 0o444, uid: 0, gid: 0, timeMs: 0 });
  const { cacheBytes, replyBytes } = memoryShares(plan.cacheBytes);
  const mounted = await kernelFuseDriver({ logger }).mount(tree, where, {
    source: "vmmount-test",
    allowOther: false,
    uid: 0,
    gid: 0,
    replyBytesMax: replyBytes,
  });
  try {
    const compared = await run("python3", [COMPARE, join(where, "disk"), plain], {
      input: JSON.stringify(plan.threads),
    });
    strictEqual(compared.code, 0, `${compared.stdout}${compared.stderr}`);
    const { cachedBytes, inFlightBytes } = stack.cacheStatistics;
    ok(cachedBytes + inFlightBytes <= cacheBytes, `${cachedBytes} cached, ${inFlightBytes} in flight`);
    await mounted.unmount();
    const { readsInFlight, openFiles, readErrors } = mounted.statistics;
    strictEqual(readsInFlight, 0);
    strictEqual(openFiles, 0);
    strictEqual(readErrors, 0);
  } finally {
    await mounted.abandon();
    await source[Symbol.asyncDispose]();
  }
  strictEqual(stack.meter.reading.inFlight, 0);
  strictEqual(stack.cacheStatistics.inFlightBytes, 0);
}

void t.test("a mounted image reads like the plain file", { skip: cannotMount() }, async (t) => {
  const folder = await mkdtemp(join(tmpdir(), "vmm-model-"));
  t.teardown(() => rm(folder, { recursive: true, force: true }));
  const content = randomBytes(SIZE);
  for (const [start, end] of HOLES) content.fill(0, start, end);
  const plain = join(folder, "plain");
  await writeFile(plain, content);
  const where = join(folder, "mnt");
  await mkdir(where);
  const property = fc.asyncProperty(plans, (plan) => follow(plan, plain, where));
  await holds(t, property, { runs: 12 });
});
