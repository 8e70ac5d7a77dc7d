import t from "tap";
import type { BlockSource, Extent } from "../../../src/block-source.js";
import { imageFile } from "../../../src/fs/image-file.js";
import { BlockStack } from "../../../src/mount/block-stack.js";
import type { Settings } from "../../../src/settings.js";
import { bytes, MIB } from "../../../src/units.js";
import { faulty } from "../../fixtures/block/faulty.js";
import { memorySource, patternBytes } from "../../fixtures/block/memory.js";
import { mountRequest } from "../../fixtures/mount/mount-request.js";
import { recordingLogger } from "../../fixtures/recording-logger.js";

const { signal } = new AbortController();
const OPTIONS = { kind: "remote" as const, signal };
const SETTINGS: Settings = { ...mountRequest().settings, "read.retries": 1, "mount.read_ahead": 0 };

async function read(source: BlockSource, at: number, length: number): Promise<Uint8Array> {
  const into = new Uint8Array(length);
  await source.read(into, bytes(at), { signal });
  return into;
}

/** Megabytes are compared as bytes: a printed difference would take minutes. */
function same(a: Uint8Array, b: Uint8Array): boolean {
  return Buffer.compare(a, b) === 0;
}

void t.test("a stacked disk reads what is below, once", async (t) => {
  const { logger } = recordingLogger();
  const stack = new BlockStack(SETTINGS, logger);
  t.equal(stack.describe(), `cache of 240 blocks of ${MIB} bytes, read-ahead 0 blocks, 8 parallel reads`);
  const content = patternBytes(3 * MIB + 512);
  const { source, extents } = await stack.stack(memorySource(content), "disk", OPTIONS);
  t.equal(extents, undefined, "nothing is known of its holes");
  for (const [at, length] of [
    [0, 4096],
    [MIB - 1, 2],
    [3 * MIB, 512],
    [0, 4096],
  ] as const) {
    t.ok(same(await read(source, at, length), content.subarray(at, at + length)));
  }
  t.equal(stack.meter.reading.bytes, 2 * MIB + 512);
  t.equal(stack.cacheStatistics.cachedBytes + stack.cacheStatistics.inFlightBytes, 3 * MIB);
  await source[Symbol.asyncDispose]();
});

void t.test("a passing failure is repeated, a lasting one is remembered and told", async (t) => {
  const { logger, lines } = recordingLogger();
  const stack = new BlockStack(SETTINGS, logger);
  const content = patternBytes(4096);
  let failures = 1;
  const below = faulty(memorySource(content), () => (failures-- > 0 ? { retryable: true } : undefined));
  const { source } = await stack.stack(below, "disk A", OPTIONS);
  t.ok(same(await read(source, 0, 4096), content));
  t.equal(stack.firstFailure, undefined);
  t.match(lines, [{ level: "warn", message: /Reading disk A failed .*; attempt 2 in \d+ ms/ }]);

  const broken = faulty(memorySource(content), () => ({ retryable: false }));
  const second = await stack.stack(broken, "disk B", OPTIONS);
  await t.rejects(read(second.source, 0, 10), { name: "DiskIoError" });
  await t.rejects(read(second.source, 0, 10), { name: "DiskIoError" });
  t.match(stack.firstFailure, /^disk B at byte 0: Cannot read/);
  t.match(lines.at(-1), { level: "error", message: /Cannot read \d+ bytes at 0 of disk B/ });
});

void t.test("holes are not read; a map that contradicts itself, or is not wanted, is not used", async (t) => {
  const content = new Uint8Array(4 * MIB);
  content.set(patternBytes(MIB), MIB);
  const { logger, lines } = recordingLogger();
  const stack = new BlockStack(SETTINGS, logger);
  const { source, extents } = await stack.stack(memorySource(content, { granularity: MIB }), "disk", OPTIONS);
  t.equal(extents?.allocated, MIB);
  t.ok(same(await read(source, 0, 4 * MIB), content));
  t.equal(stack.meter.reading.bytes, MIB);

  const off = new BlockStack({ ...SETTINGS, "mount.allocation": "off" }, logger);
  t.equal((await off.stack(memorySource(content, { granularity: MIB }), "disk", OPTIONS)).extents, undefined);
  t.strictSame(lines, []);

  const lying: BlockSource = {
    ...memorySource(content),
    async *extents(): AsyncGenerator<Extent> {
      yield await Promise.resolve({ kind: "hole", start: bytes(MIB), length: bytes(MIB) });
    },
  };
  const doubtful = await stack.stack(lying, "disk", OPTIONS);
  t.equal(doubtful.extents, undefined);
  t.match(lines, [{ level: "warn", message: /allocation map of disk is not used/ }]);
  t.ok(same(await read(doubtful.source, MIB, MIB), content.subarray(MIB, 2 * MIB)));
});

void t.test("holes of an image file are not kept either: they take no room from data", async (t) => {
  const content = new Uint8Array(16 * MIB);
  content.set(patternBytes(MIB), 8 * MIB);
  const { logger } = recordingLogger();
  const stack = new BlockStack(SETTINGS, logger);
  const { source, extents } = await stack.stack(memorySource(content, { granularity: MIB }), "disk", OPTIONS);
  const file = imageFile(source, extents).open();
  for (let at = 0; at < 16; at++) {
    const into = new Uint8Array(MIB).fill(1);
    await file.read(into, bytes(at * MIB), { signal });
    t.ok(same(into, content.subarray(at * MIB, (at + 1) * MIB)));
    const held = at < 8 ? 0 : MIB;
    t.match(stack.cacheStatistics, { cachedBytes: held, inFlightBytes: 0, loads: held / MIB });
  }
  file.release();
  await source[Symbol.asyncDispose]();
});

void t.test("after distrust() nothing is fetched any more; what was cached before is still read", async (t) => {
  const { logger } = recordingLogger();
  const stack = new BlockStack(SETTINGS, logger);
  const content = patternBytes(2 * MIB);
  const { source } = await stack.stack(memorySource(content), "disk", OPTIONS);
  await read(source, 0, 4096);
  stack.distrust("somebody else removed the snapshot");
  t.ok(same(await read(source, 8192, 4096), content.subarray(8192, 12288)));
  await t.rejects(read(source, MIB, 4096), { message: /somebody else removed the snapshot/ });
  t.match(stack.firstFailure, /somebody else removed/);
});
