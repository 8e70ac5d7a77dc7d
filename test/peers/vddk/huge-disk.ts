import { mkdir, open } from "node:fs/promises";
import { join } from "node:path";
import t, { type Test } from "tap";
import type { BlockSource, Extent } from "../../../src/block-source.js";
import { writeMachineFiles } from "../../../src/lab/init/machine-files.js";
import { bytes, GIB, KIB, MIB } from "../../../src/units.js";
import { findVddk } from "../../../src/vddk/find-library.js";
import { VddkService } from "../../../src/vddk/vddk-service.js";
import { PROGRAM } from "../../fixtures/host/command-line.js";
import { buildVddkStandIn, VDDK_8, VddkRules } from "../../fixtures/host/vddk-stand-in.js";
import { recordingLogger } from "../../fixtures/recording-logger.js";
import { scratch } from "../../fixtures/scratch.js";

/** What the library tells allocation in, and the most that one question covers. */
const CHUNK = 64 * KIB;
const QUESTION = 32 * GIB;
/** No multiple of 64 KiB, nor of 4 KiB. */
const TAIL = 37 * 512;
const SIZE = 2 * 1024 * GIB + TAIL;
const LAST_CHUNK = SIZE - TAIL;

interface Stretch {
  readonly start: number;
  readonly length: number;
}

const WRITTEN: readonly Stretch[] = [
  { start: 0, length: 512 },
  { start: 5 * MIB + 512, length: CHUNK },
  { start: QUESTION - CHUNK, length: CHUNK },
  // Over the border of two questions.
  { start: 2 * QUESTION - 4096, length: 8192 },
  { start: 3 * QUESTION, length: 4096 },
  { start: 1024 * GIB + 3 * CHUNK, length: 2 * MIB },
  { start: LAST_CHUNK - CHUNK, length: CHUNK },
  { start: LAST_CHUNK, length: TAIL },
];

/** What is in a stretch: its own number in every byte. */
function content(index: number): number {
  return index + 1;
}

/** Opened through a VDDK host of its own, as a mount does it. */
async function openHugeDisk(t: Test): Promise<{ source: BlockSource; rules: VddkRules }> {
  await buildVddkStandIn();
  const datastores = scratch(t);
  const folder = join(datastores, "ds1", "huge");
  await mkdir(folder, { recursive: true });
  await using flat = await open(join(folder, "huge-flat.vmdk"), "wx");
  await flat.truncate(SIZE);
  for (const [index, { start, length }] of WRITTEN.entries()) {
    await flat.write(Buffer.alloc(length, content(index)), 0, length, start);
  }
  await writeMachineFiles({
    folder,
    stem: "huge",
    displayName: "huge",
    annotation: "",
    controller: "scsi0",
    disks: [{ node: "scsi0:0", stem: "huge", size: SIZE }],
  });
  const rules = await VddkRules.write(t, datastores);
  // The library's process has the environment of this one.
  Object.assign(process.env, rules.env);
  const service = await VddkService.start({
    library: await findVddk(VDDK_8),
    configFile: undefined,
    login: { host: "vcenter.example", port: 443, user: "backup", password: "secret", thumbprint: "AA:BB", vm: "vm-42" },
    runtimeDir: scratch(t),
    program: PROGRAM,
    logger: recordingLogger().logger,
    stallMs: 60_000,
    allocation: "auto",
  });
  t.teardown(() => service[Symbol.asyncDispose]());
  const request = { name: "huge", path: "[ds1] huge/huge.vmdk", mode: "nbdssl", snapshot: undefined };
  const { source } = await service.open(request, { signal: AbortSignal.timeout(30_000), otherwise: "nothing" });
  t.teardown(() => source[Symbol.asyncDispose]());
  return { source, rules };
}

/** In whole chunks as the library tells them, and the rest of the disk as data, as it cannot be asked for. */
function expectedData(): Stretch[] {
  const found: { start: number; length: number }[] = [];
  for (const { start, length } of WRITTEN) {
    const from = start - (start % CHUNK);
    const to = Math.min(SIZE, Math.ceil((start + length) / CHUNK) * CHUNK);
    const last = found.at(-1);
    if (last !== undefined && last.start + last.length === from) last.length += to - from;
    else found.push({ start: from, length: to - from });
  }
  return found;
}

async function extentsOf(source: BlockSource, from: number, length: number): Promise<Extent[]> {
  const found: Extent[] = [];
  const signal = AbortSignal.timeout(60_000);
  for await (const extent of source.extents!(bytes(from), bytes(length), { signal })) found.push(extent);
  return found;
}

function merged(t: Test, extents: readonly Extent[], from: number): Stretch[] {
  const data: { start: number; length: number }[] = [];
  let end = from;
  for (const { kind, start, length } of extents) {
    if (start !== end) t.equal(start, end, "extents are adjacent");
    end = start + length;
    if (kind === "hole") continue;
    const last = data.at(-1);
    if (last !== undefined && last.start + last.length === start) last.length += length;
    else data.push({ start, length });
  }
  return data;
}

await t.test("a disk of 2 TiB and a bit", async (t) => {
  const { source, rules } = await openHugeDisk(t);
  const signal = AbortSignal.timeout(60_000);
  const queries = async () => (await rules.events()).filter((line) => line.startsWith("query "));
  t.equal(source.size, SIZE);

  await t.test("allocated blocks are those that were written", async (t) => {
    const extents = await extentsOf(source, 0, SIZE);
    const ends = extents.reduce((sum, { length }) => sum + length, 0);
    t.equal(ends, SIZE, "the whole disk is covered");
    t.strictSame(merged(t, extents, 0), expectedData());
  });

  await t.test("with one question for each 32 GiB, and one that tries", async (t) => {
    const [id] = (await rules.events()).filter((line) => line.startsWith("open ")).map((line) => line.split(" ")[1]);
    const sectors = QUESTION / 512;
    const all = Array.from({ length: 64 }, (_, index) => `query ${id ?? "?"} ${index * sectors} ${sectors}`);
    t.strictSame(await queries(), [`query ${id ?? "?"} 0 128`, ...all]);
  });

  await t.test("a question from the middle of a chunk, over a border", async (t) => {
    const from = 2 * QUESTION - 6 * KIB;
    t.strictSame(merged(t, await extentsOf(source, from, 12 * KIB), from), [{ start: from, length: 12 * KIB }]);
    const hole = 7 * QUESTION + 5 * 512;
    t.strictSame(merged(t, await extentsOf(source, hole, MIB), hole), []);
    t.strictSame(merged(t, await extentsOf(source, SIZE - 512, 512), SIZE - 512), [{ start: SIZE - 512, length: 512 }]);
  });

  await t.test("what was written is read, the tail of odd sectors too", async (t) => {
    for (const [index, { start, length }] of WRITTEN.entries()) {
      const into = Buffer.alloc(length);
      await source.read(into, bytes(start), { signal });
      t.ok(into.equals(Buffer.alloc(length, content(index))), `${length} bytes at ${start}`);
    }
    for (const length of [1, 511, 512, 513, 4096, TAIL - 1, TAIL + 1, CHUNK + 100]) {
      const into = Buffer.alloc(length, 0xff);
      await source.read(into, bytes(SIZE - length), { signal });
      const tail = Buffer.alloc(Math.min(length, TAIL), content(WRITTEN.length - 1));
      const before = Buffer.alloc(length - tail.length, content(WRITTEN.length - 2));
      t.ok(into.equals(Buffer.concat([before, tail])), `the last ${length} bytes`);
    }
    await t.rejects(source.read(Buffer.alloc(512), bytes(SIZE - 511), { signal }), RangeError);
  });

  await t.test("questions and reads at the same time disturb each other not", async (t) => {
    const reading = Array.from({ length: 64 }, async (_, index) => {
      const into = Buffer.alloc(MIB);
      await source.read(into, bytes(1024 * GIB + 3 * CHUNK + (index % 2) * MIB), { signal });
      return into.every((byte) => byte === content(5));
    });
    const walking = [0, 512 * GIB].map((from) => extentsOf(source, from, 512 * GIB));
    const [reads, walks] = await Promise.all([Promise.all(reading), Promise.all(walking)]);
    t.ok(reads.every(Boolean));
    for (const extents of walks) {
      const covered = extents.reduce((sum, { length }) => sum + length, 0);
      t.equal(covered, 512 * GIB);
    }
  });
});
