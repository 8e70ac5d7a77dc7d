import { createHash } from "node:crypto";
import fc from "fast-check";
import t, { type Test } from "tap";
import type { BlockSource } from "../../../../src/block-source.js";
import { ExtentMap } from "../../../../src/fs/block/extent-map.js";
import { bytes, GIB, KIB, MIB } from "../../../../src/units.js";
import { virtualXva, type XvaDisk } from "../../../../src/xen/xva/virtual-xva.js";
import { memorySource, patternBytes } from "../../../fixtures/block/memory.js";
import { blockSourceContract } from "../../../fixtures/contract/block-source.js";
import { holds } from "../../../fixtures/property.js";
import { failureOf } from "../../../fixtures/snapshot-session.js";
import { importXva } from "../../../fixtures/xen/strict-xva-reader.js";
import { readAll, xvaInput } from "../../../fixtures/xen/vm-records.js";

const { signal } = new AbortController();
type Disk = Pick<XvaDisk, "source" | "holes">;

/** Counts what is read. */
class Counted implements BlockSource {
  readonly size;
  reads = 0;
  readBytes = 0;
  readonly #below: BlockSource;

  constructor(below: BlockSource) {
    this.#below = below;
    this.size = below.size;
  }

  async read(into: Uint8Array, at: ReturnType<typeof bytes>, options: { readonly signal: AbortSignal }): Promise<void> {
    this.reads++;
    this.readBytes += into.length;
    await this.#below.read(into, at, options);
  }

  [Symbol.asyncDispose](): Promise<void> {
    return Promise.resolve();
  }
}

function dense(content: Uint8Array): Disk {
  return { source: memorySource(content) };
}

async function sparse(content: Uint8Array): Promise<Disk> {
  const source = memorySource(content, { granularity: 64 * KIB });
  const holes = await ExtentMap.collect(source.size, source.extents!(bytes(0), source.size, { signal }));
  return { source, holes };
}

/** Imports the archive of these disks and compares each. */
async function imports(t: Test, contents: readonly Uint8Array[], how: (content: Uint8Array) => Promise<Disk> | Disk) {
  for (const checksum of ["sha1", "xxhash"] as const) {
    const disks = await Promise.all(contents.map(async (content) => how(content)));
    await using archive = await virtualXva(xvaInput(disks, checksum));
    const content = await readAll(archive);
    t.equal(content.length % 512, 0);
    const imported = await importXva(content);
    t.equal(imported.disks.length, contents.length);
    for (const [index, disk] of imported.disks.entries()) {
      const padded = Buffer.alloc(Math.ceil(contents[index]!.length / 512) * 512);
      padded.set(contents[index]!);
      t.equal(Buffer.compare(disk.content, padded), 0, `disk ${index}`);
      t.equal(disk.userdevice, String(index));
    }
  }
}

function withData(size: number, ...places: readonly number[]): Uint8Array {
  const content = new Uint8Array(size);
  for (const at of places) content.set(patternBytes(100), Math.min(at, size - 100));
  return content;
}

void t.test("the strictest importer takes it, with every disk as it was", async (t) => {
  const cases: Readonly<Record<string, readonly Uint8Array[]>> = {
    "no disk": [],
    "one chunk": [patternBytes(MIB)],
    "less than a chunk": [patternBytes(4 * KIB)],
    "nothing but zeros": [new Uint8Array(2 * MIB)],
    "a tail that is no whole chunk": [patternBytes(2 * MIB + 3 * 512)],
    "a tail that is no whole block": [patternBytes(2 * MIB + 700)],
    "a small disk before a large one with holes": [patternBytes(64 * KIB), withData(4 * MIB, 0, 3 * MIB)],
    "holes at the beginning and before the end": [withData(5 * MIB, 2 * MIB)],
    "data in the last chunk only": [withData(4 * MIB, 4 * MIB)],
    "a gap in the second disk": [withData(3 * MIB, 0), withData(6 * MIB, 5 * MIB)],
    "an empty disk before another": [new Uint8Array(0), withData(3 * MIB, 0)],
  };
  for (const [what, contents] of Object.entries(cases)) {
    await t.test(what, async (t) => {
      await imports(t, contents, dense);
      await imports(t, contents, sparse);
    });
  }
});

void t.test("twelve disks keep their order", async (t) => {
  const contents = Array.from({ length: 12 }, (_, index) => withData(MIB + index * 512, index * 1000));
  await imports(t, contents, sparse);
});

void t.test("chunks of zeros are left out where the first chunk of the archive is a whole one", async (t) => {
  const names = async (contents: readonly Uint8Array[]): Promise<readonly string[]> => {
    const archive = await virtualXva(xvaInput(await Promise.all(contents.map(sparse))));
    const { members, disks } = await importXva(await readAll(archive));
    return members
      .filter((name) => /\/\d+$/.test(name))
      .map((name) => `${disks.findIndex(({ id }) => name.startsWith(id))}/${Number(name.slice(-8))}`);
  };
  t.strictSame(await names([withData(6 * MIB, 3 * MIB)]), ["0/0", "0/3", "0/5"]);
  t.strictSame(await names([withData(512, 0), withData(3 * MIB, 0)]), ["0/0", "1/0", "1/1", "1/2"]);
  t.strictSame(await names([new Uint8Array(2 * MIB)]), ["0/0", "0/1"]);
});

void t.test("an archive with a text of 26014 bytes and one disk of 2 MiB has 2127872 bytes", async (t) => {
  const input = xvaInput([dense(new Uint8Array(2 * MIB))]);
  const missing = 26_014 - input.ovaXml.length;
  // White space between elements is allowed.
  const text = Buffer.from(input.ovaXml)
    .toString()
    .replace("<struct>", `<struct>${" ".repeat(missing)}`);
  const archive = await virtualXva({ ...input, ovaXml: Buffer.from(text) });
  t.equal(archive.size, 2_127_872);
  t.equal(
    (await readAll(archive)).subarray(-1024).every((byte) => byte === 0),
    true,
  );
});

void t.test("any ranges in any order are those of one reading from front to back", async (t) => {
  const contents = [withData(3 * MIB + 512, 0, 2 * MIB), withData(5 * MIB, 4 * MIB), patternBytes(700)];
  for (const how of [dense, sparse]) {
    const open = async (): Promise<BlockSource> =>
      virtualXva(xvaInput(await Promise.all(contents.map(async (content) => how(content)))));
    const whole = await readAll(await open(), 300_001);
    t.equal(Buffer.compare(whole, await readAll(await open(), 4 * MIB)), 0);
    const archive = await open();
    const range = fc.tuple(fc.nat(whole.length), fc.nat(2 * MIB));
    const property = fc.asyncProperty(fc.array(range, { minLength: 1, maxLength: 6 }), async (ranges) => {
      const parts = await Promise.all(
        ranges.map(async ([at, wanted]) => {
          const into = Buffer.alloc(Math.min(wanted, whole.length - at), 0xa5);
          await archive.read(into, bytes(at), { signal });
          return Buffer.compare(into, whole.subarray(at, at + into.length)) === 0;
        }),
      );
      return parts.every(Boolean);
    });
    await holds(t, property, { runs: 25 });
  }
});

void t.test("it is a block source like any other", async (t) => {
  // The contract brings the bytes: here they are the archive, whose one disk is found in them again.
  const disk = patternBytes(40 * KIB);
  const input = xvaInput([dense(disk)]);
  const size = (await virtualXva(input)).size;
  const base = await readAll(await virtualXva(input));
  const from = size - 1024 - 1024 - disk.length;
  await blockSourceContract(t, {
    size,
    blockBytes: 512,
    runs: 30,
    open: async (content) => {
      const same = content.subarray(from, from + disk.length).slice();
      const fresh = await virtualXva(xvaInput([dense(same)]));
      // Headers, texts and hashes are no matter of choice.
      content.set(base.subarray(0, from));
      content.set((await readAll(fresh)).subarray(from), from);
      return fresh;
    },
  });
});

void t.test("reading forward fetches each byte once, and a hash alone one chunk", async (t) => {
  for (const stepBytes of [128 * KIB, 333_333, MIB, 3 * MIB]) {
    const source = new Counted(memorySource(patternBytes(8 * MIB)));
    await readAll(await virtualXva(xvaInput([{ source }])), stepBytes);
    t.equal(source.readBytes, 8 * MIB, `in steps of ${stepBytes}`);
  }
  const source = new Counted(memorySource(patternBytes(8 * MIB)));
  const archive = await virtualXva(xvaInput([{ source }]));
  // The last chunk's hash is right before the end.
  const hash = Buffer.alloc(40);
  for (let again = 0; again < 3; again++) await archive.read(hash, bytes(archive.size - 1024 - 512), { signal });
  t.equal(source.readBytes, MIB);
  t.equal(
    hash.toString("latin1"),
    createHash("sha1")
      .update(patternBytes(8 * MIB).subarray(7 * MIB))
      .digest("hex"),
  );
});

void t.test("reads side by side, as a kernel reads ahead, fetch each byte once", async (t) => {
  const source = new Counted(memorySource(patternBytes(6 * MIB)));
  const archive = await virtualXva(xvaInput([{ source }]));
  const whole = Buffer.alloc(archive.size);
  const step = 128 * KIB;
  for (let at = 0; at < archive.size; at += 8 * step) {
    const parts = Array.from({ length: 8 }, (_, index) => at + index * step).filter((one) => one < archive.size);
    await Promise.all(parts.map((one) => archive.read(whole.subarray(one, one + step), bytes(one), { signal })));
  }
  t.equal(source.readBytes, 6 * MIB);
  t.equal((await importXva(whole)).disks.length, 1);
});

void t.test("two disks of 2040 GiB with little in them cost little", async (t) => {
  const size = bytes(2040 * GIB);
  const place = 1234 * GIB;
  const source: BlockSource = {
    size,
    read: (into, at) => {
      into.fill(0);
      if (at <= place && at + into.length > place) into[place - at] = 1;
      return Promise.resolve();
    },
    [Symbol.asyncDispose]: () => Promise.resolve(),
  };
  const holes = await ExtentMap.collect(size, [
    { kind: "hole", start: bytes(0), length: bytes(place) },
    { kind: "data", start: bytes(place), length: bytes(4096) },
    { kind: "hole", start: bytes(place + 4096), length: bytes(size - place - 4096) },
  ]);
  const before = process.memoryUsage();
  const input = xvaInput([
    { source, holes },
    { source, holes },
  ]);
  const archive = await virtualXva(input);
  const after = process.memoryUsage();
  t.ok(after.arrayBuffers - before.arrayBuffers < 4 * MIB, `${after.arrayBuffers - before.arrayBuffers} bytes`);
  const head = 512 + Math.ceil(input.ovaXml.length / 512) * 512;
  t.equal(archive.size, head + 2 * 3 * 1_050_112 + 1024);
  const names: string[] = [];
  for (let slot = 0; slot < 6; slot++) {
    const name = Buffer.alloc(100);
    await archive.read(name, bytes(head + slot * 1_050_112), { signal });
    names.push(name.toString("latin1").replace(/\0+$/, "").slice(-8));
  }
  const chunks = ["00000000", String(1234 * 1024).padStart(8, "0"), String(2040 * 1024 - 1).padStart(8, "0")];
  t.strictSame(names, [...chunks, ...chunks]);
  // Dense, the same arithmetic holds.
  const full = await virtualXva(xvaInput([{ source }]));
  const fullHead = full.size - 1024 - 2040 * 1024 * 1_050_112;
  t.ok(fullHead > 0 && fullHead < 64 * KIB && fullHead % 512 === 0);
  const last = Buffer.alloc(100);
  await full.read(last, bytes(full.size - 1024 - 1_050_112), { signal });
  t.match(last.toString("latin1"), /\/02088959\0/);
});

void t.test("a failed read is told, and the next one finds everything in order", async (t) => {
  const content = patternBytes(3 * MIB);
  const below = memorySource(content);
  let broken = true;
  const source: BlockSource = {
    size: below.size,
    read: async (into, at, options) => {
      if (broken && at + into.length > 1.5 * MIB) throw new Error("this half is ill");
      await below.read(into, at, options);
    },
    [Symbol.asyncDispose]: () => Promise.resolve(),
  };
  const archive = await virtualXva(xvaInput([{ source }]));
  t.match(await failureOf(readAll(archive, 200_000)), { message: "this half is ill" });
  const hashOfSecond = bytes(archive.size - 1024 - 1_050_112 - 512);
  t.match(await failureOf(archive.read(new Uint8Array(40), hashOfSecond, { signal })), { message: "this half is ill" });
  broken = false;
  t.equal(Buffer.compare((await importXva(await readAll(archive, 200_000))).disks[0]!.content, content), 0);
});

void t.test("readers learn apart from each other", async (t) => {
  const opened: string[] = [];
  const content = patternBytes(2 * MIB);
  const below = memorySource(content);
  const source: BlockSource = {
    ...below,
    reader: () => {
      opened.push("opened");
      return {
        size: below.size,
        read: below.read.bind(below),
        [Symbol.asyncDispose]: () => {
          opened.push("closed");
          return Promise.resolve();
        },
      };
    },
  };
  const archive = await virtualXva(xvaInput([{ source }]));
  const reader = archive.reader!();
  t.equal(Buffer.compare(await readAll(reader), await readAll(archive)), 0);
  await reader[Symbol.asyncDispose]();
  t.strictSame(opened, ["opened", "closed"]);
  await readAll(archive);
});

void t.test("disks that ova.xml does not describe are refused", async (t) => {
  const input = xvaInput([dense(new Uint8Array(MIB)), dense(new Uint8Array(MIB))]);
  const refused = { name: "IntegrityError", message: /describes other disks/ };
  t.match(await failureOf(virtualXva({ ...input, disks: input.disks.slice(1) })), refused);
  const other = { ...input.disks[0]!, source: memorySource(new Uint8Array(MIB + 512)) };
  t.match(await failureOf(virtualXva({ ...input, disks: [other, input.disks[1]!] })), refused);
  t.match(await failureOf(virtualXva({ ...input, disks: [...input.disks, { ...other, id: "Ref:9" }] })), refused);
});
