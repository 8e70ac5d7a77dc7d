import { createHash, randomBytes } from "node:crypto";
import { open } from "node:fs/promises";
import { join } from "node:path";
import t, { type Test } from "tap";
import { ByteReader } from "../../../../src/lab/xen/archive/byte-reader.js";
import { chunkHashes } from "../../../../src/lab/xen/archive/chunk-hash.js";
import { ChunkReader, type ChunkReading } from "../../../../src/lab/xen/archive/chunk-reader.js";
import { type ChunkStyle, diskChunks } from "../../../../src/lab/xen/archive/chunk-writer.js";
import { compressed, type Compression, decompressed } from "../../../../src/lab/xen/archive/compression.js";
import { FileDisk, isZero } from "../../../../src/lab/xen/archive/disk-bytes.js";
import { parseTarHeader, TAR_END_BYTES, tarHeader } from "../../../../src/lab/xen/archive/tar-header.js";
import { TarReader } from "../../../../src/lab/xen/archive/tar-reader.js";
import { MIB } from "../../../../src/units.js";
import { scratch } from "../../../fixtures/scratch.js";

/** Headers of archives that real hosts made: SHA-1 of their 512 bytes. */
const VECTORS = [
  ["ova.xml", 26014, 0, "69062a926729edfb191cfc2bedf448b09da425f8"],
  ["Ref:20/00000000", MIB, 0, "fc68ac0fa46278c88a5f02ada7935e25b763d6d2"],
  ["Ref:20/00000000", MIB, 0o400, "f85e243a9ce7f81407f05d3dc48a8a1793950d11"],
  ["Ref:20/00000000.checksum", 40, 0, "f50ac471c0b7be3b6b2e1ad976b01fc1ea4ccfe0"],
  ["Ref:20/00000000.checksum", 40, 0o400, "b9d6a6aff6d48d98691a3d2817927525c883e92d"],
  ["Ref:20/00000000.xxhash", 16, 0, "a081d3890d4987f0be5b6417bedf2492e38251f8"],
  ["Ref:20/00000000.xxhash", 16, 0o400, "74a1898bcaedcc7b7c0472af57fe22f247b1d71e"],
] as const;

void t.test("headers are byte for byte those of real hosts", (t) => {
  for (const [name, sizeBytes, mode, sha1] of VECTORS) {
    const header = tarHeader({ name, sizeBytes, mode, mtimeSeconds: 0 });
    t.equal(createHash("sha1").update(header).digest("hex"), sha1, `${name} with mode ${mode.toString(8)}`);
    t.strictSame(parseTarHeader(header), { name, sizeBytes, type: "\0" }, "and they can be read");
  }
  const damaged = tarHeader({ name: "ova.xml", sizeBytes: 1, mode: 0, mtimeSeconds: 0 });
  damaged.writeUInt8(0x41, 0);
  t.throws(() => parseTarHeader(damaged), /checksum/, "a damaged one cannot");
  t.end();
});

void t.test("hashes are written as real hosts write them", async (t) => {
  const { checksum, xxhash } = await chunkHashes();
  const zeros = Buffer.alloc(MIB);
  t.equal(checksum(zeros), "3b71f43ff30f4b15b5cd85dd9e95ebc7e84eb5a3");
  t.equal(xxhash(zeros), "87D2A1B6E1163EF1");
  t.equal(checksum(Buffer.alloc(0)), "da39a3ee5e6b4b0d3255bfef95601890afd80709");
  t.equal(xxhash(Buffer.alloc(0)), "EF46DB3751D8E999");
  t.equal(xxhash(Buffer.from("abc")), "44BC2CF5AD770999");
});

void t.test("isZero looks at every byte", (t) => {
  for (const length of [0, 1, 2, 513]) t.equal(isZero(new Uint8Array(length)), true, `${length} zeros`);
  for (const at of [0, 1, 511, 512]) {
    const data = new Uint8Array(513);
    data[at] = 1;
    t.equal(isZero(data), false, `one at ${at}`);
  }
  t.end();
});

const XXHASH: ChunkStyle = { hash: "xxhash", mode: 0, keepAliveChunks: undefined, isAllocated: undefined };

async function disk(t: Test, sizeBytes: number, data: readonly (readonly [at: number, bytes: Buffer])[] = []) {
  const file = await open(join(scratch(t), "disk.raw"), "w+");
  t.teardown(() => file.close());
  await file.truncate(sizeBytes);
  for (const [at, bytes] of data) await file.write(bytes, 0, bytes.length, at);
  return new FileDisk(file, sizeBytes);
}

async function collect(stream: AsyncIterable<Uint8Array>): Promise<Buffer> {
  const parts: Uint8Array[] = [];
  for await (const part of stream) parts.push(part);
  return Buffer.concat(parts);
}

// eslint-disable-next-line @typescript-eslint/require-await -- a stream that has everything at once
async function* streamOf(...parts: readonly Buffer[]): AsyncGenerator<Buffer> {
  yield* parts;
}

async function reading(archive: Buffer, changes: Partial<ChunkReading> = {}): Promise<ChunkReader> {
  const bytes = new ByteReader(streamOf(archive));
  const hashes = await chunkHashes();
  return new ChunkReader({
    ...{ bytes, tar: new TarReader(bytes), hashes, readsHashBeforePadding: true, isForced: false },
    ...changes,
  });
}

async function names(archive: Buffer): Promise<string[]> {
  const bytes = new ByteReader(streamOf(archive, Buffer.alloc(TAR_END_BYTES)));
  const tar = new TarReader(bytes);
  const found: string[] = [];
  for (let member = await tar.next(); member !== undefined; member = await tar.next()) {
    found.push(member.name);
    await tar.data(member);
  }
  return found;
}

const NOISE = randomBytes(MIB);

void t.test("the first and the last chunk are always there, others when they hold data", async (t) => {
  const source = await disk(t, 6 * MIB + 512, [[3 * MIB + 5, NOISE.subarray(0, 10)]]);
  const archive = await collect(diskChunks(source, "Ref:7", XXHASH));
  t.strictSame(await names(archive), [
    ...["Ref:7/00000000", "Ref:7/00000000.xxhash", "Ref:7/00000003", "Ref:7/00000003.xxhash"],
    ...["Ref:7/00000006", "Ref:7/00000006.xxhash"],
  ]);
  t.equal(archive.length, 2 * 1050112 + 512 + 512 + 1024, "a full chunk takes 1050112 bytes");
});

void t.test("an empty chunk takes a number and no place", async (t) => {
  const source = await disk(t, 8 * MIB, [[6 * MIB, NOISE]]);
  const style: ChunkStyle = { ...XXHASH, hash: "checksum", mode: 0o400, keepAliveChunks: 2 };
  const archive = await collect(diskChunks(source, "Ref:1", style));
  const data = (await names(archive)).filter((name) => !name.endsWith(".checksum"));
  t.strictSame(
    data.map((name) => Number(name.slice(6))),
    [0, 3, 6, 8, 9],
    "two chunks left out, an empty one, two left out, an empty one, one left out, data, the last",
  );
  const target = await disk(t, 8 * MIB);
  const reader = await reading(archive, { readsHashBeforePadding: false });
  await reader.read({ directory: "Ref:1", virtualBytes: 8 * MIB, disk: target, writesZeros: false });
  t.ok((await target.read(0, 8 * MIB)).equals(await source.read(0, 8 * MIB)), "and reading puts all in its place");
});

void t.test("where a disk has old bytes, zeros are written into gaps", async (t) => {
  const source = await disk(t, 4 * MIB, [[2 * MIB, NOISE]]);
  const archive = await collect(diskChunks(source, "Ref:1", XXHASH));
  const old = await disk(t, 4 * MIB, [[MIB, NOISE]]);
  const wish = { directory: "Ref:1", virtualBytes: 4 * MIB, disk: old };
  await (await reading(archive)).read({ ...wish, writesZeros: true });
  t.ok((await old.read(0, 4 * MIB)).equals(await source.read(0, 4 * MIB)));
});

void t.test("what is no archive of a host is refused with its texts", async (t) => {
  const source = await disk(t, 3 * MIB, [[MIB, NOISE]]);
  const archive = await collect(diskChunks(source, "Ref:1", XXHASH));
  const read = async (
    bytes: Buffer,
    directory = "Ref:1",
    changes: Partial<ChunkReading> = {},
    virtualBytes = 3 * MIB,
  ) => {
    const reader = await reading(bytes, changes);
    await reader.read({ directory, virtualBytes, disk: await disk(t, 4 * MIB), writesZeros: false });
  };
  const fault = (text: RegExp) => ({ name: "XapiFault", code: "IMPORT_ERROR", message: text });
  await t.rejects(read(archive, "Ref:2"), fault(/Invalid XVA file/), "the wrong disk");
  await t.rejects(
    read(Buffer.concat([archive.subarray(0, 1050112), archive])),
    fault(/Invalid XVA file/),
    "a number twice",
  );
  await t.rejects(read(archive.subarray(0, 2 * 1050112 + 700)), { name: "EndOfStream" }, "an early end");
  await t.rejects(
    read(Buffer.concat([archive, Buffer.alloc(TAR_END_BYTES)]), "Ref:1", {}, 4 * MIB),
    fault(/End_of_stream/),
    "too few chunks",
  );
  const damaged = Buffer.from(archive);
  damaged.writeUInt8(damaged.readUInt8(5000) ^ 1, 5000);
  const text = /Block Ref:1\/00000000 checksum failed: original = 87D2A1B6E1163EF1; recomputed = [0-9A-F]{16}/;
  await t.rejects(read(damaged), fault(text), "a flipped bit");
  await t.resolves(read(damaged, "Ref:1", { isForced: true }), "is taken by force");
  const { checksum } = await chunkHashes();
  const old = { hashes: { checksum }, readsHashBeforePadding: false };
  await t.rejects(
    read(archive, "Ref:1", old),
    fault(/Expected to find an inline checksum, found file called: Ref:1\/00000000.xxhash/),
    "a hash that old hosts do not know",
  );
  const small = await disk(t, 2 * MIB);
  const reader = await reading(archive);
  const wish = { directory: "Ref:1", virtualBytes: 3 * MIB, disk: small, writesZeros: false };
  await t.rejects(reader.read(wish), { name: "RangeError" }, "a disk that is too small");
});

void t.test("new hosts read a chunk of odd length wrong, old ones right", async (t) => {
  const source = await disk(t, MIB + 1000, [[MIB + 999, Buffer.from([1])]]);
  const archive = await collect(diskChunks(source, "Ref:1", XXHASH));
  const target = await disk(t, 2 * MIB);
  const wish = { directory: "Ref:1", virtualBytes: MIB + 1000, disk: target, writesZeros: false };
  await t.rejects((await reading(archive)).read(wish));
  await t.resolves((await reading(archive, { readsHashBeforePadding: false })).read(wish));
});

void t.test("compressors give back what they got, and damaged streams end early", async (t) => {
  const data = [Buffer.alloc(3 * MIB), NOISE, Buffer.from("end")];
  for (const kind of ["none", "gzip", "zstd"] satisfies Compression[]) {
    const packed = await collect(compressed(streamOf(...data), kind));
    t.ok((await collect(decompressed(streamOf(packed), kind))).equals(Buffer.concat(data)), kind);
    const rest = collect(decompressed(streamOf(packed.subarray(0, packed.length / 2)), kind));
    t.ok((await rest).length < 4 * MIB, `half of ${kind}`);
  }
  t.equal((await collect(decompressed(streamOf(NOISE), "gzip"))).length, 0, "noise is no gzip");
});
