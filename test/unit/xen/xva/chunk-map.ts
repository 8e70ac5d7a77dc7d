import fc from "fast-check";
import t from "tap";
import { ExtentMap } from "../../../../src/fs/block/extent-map.js";
import { bytes, GIB, MIB } from "../../../../src/units.js";
import { ChunkMap } from "../../../../src/xen/xva/chunk-map.js";
import { holds } from "../../../fixtures/property.js";

const all = (map: ChunkMap): number[] => Array.from({ length: map.included }, (_, index) => map.at(index));

/** @param data start and length of each, in bytes */
async function extents(size: number, data: readonly (readonly [number, number])[]): Promise<ExtentMap> {
  const parts: { kind: "data" | "hole"; start: ReturnType<typeof bytes>; length: ReturnType<typeof bytes> }[] = [];
  let at = 0;
  for (const [start, length] of data) {
    if (start > at) parts.push({ kind: "hole", start: bytes(at), length: bytes(start - at) });
    parts.push({ kind: "data", start: bytes(start), length: bytes(length) });
    at = start + length;
  }
  if (at < size) parts.push({ kind: "hole", start: bytes(at), length: bytes(size - at) });
  return await ExtentMap.collect(bytes(size), parts);
}

void t.test("first, last and whatever holds data are in", async (t) => {
  const size = 100 * MIB + 512;
  const map = ChunkMap.of(
    bytes(size),
    await extents(size, [
      [3 * MIB + 5, 10],
      [40 * MIB - 1, 2],
    ]),
  );
  t.equal(map.count, 101);
  t.strictSame(all(map), [0, 3, 39, 40, 100]);
  t.strictSame(all(ChunkMap.of(bytes(2 * MIB), await extents(2 * MIB, []))), [0, 1]);
  t.strictSame(all(ChunkMap.of(bytes(3 * MIB), undefined)), [0, 1, 2]);
  t.strictSame(all(ChunkMap.of(bytes(0), undefined)), []);
  t.strictSame(all(ChunkMap.of(bytes(512), undefined)), [0]);
  t.throws(() => map.at(5), RangeError);
  t.throws(() => map.at(-1), RangeError);
  t.throws(() => ChunkMap.of(bytes(100_000_000 * MIB), undefined), /too large/);
});

void t.test("any set of data is found again", async (t) => {
  const chunks = 700;
  const property = fc.asyncProperty(fc.uniqueArray(fc.nat(chunks - 1), { maxLength: 300 }), async (given) => {
    const data = [...given].sort((a, b) => a - b);
    const map = ChunkMap.of(
      bytes(chunks * MIB),
      await extents(
        chunks * MIB,
        data.map((chunk) => [chunk * MIB + 7, 1] as const),
      ),
    );
    const wanted = [...new Set([0, ...data, chunks - 1])];
    return JSON.stringify(all(map)) === JSON.stringify(wanted);
  });
  await holds(t, property, { runs: 100 });
});

void t.test("a large disk takes 128 KiB for each TiB", async (t) => {
  const size = 2040 * GIB;
  const before = process.memoryUsage().arrayBuffers;
  const map = ChunkMap.of(bytes(size), await extents(size, [[size / 2, MIB]]));
  t.ok(process.memoryUsage().arrayBuffers - before < 2 * MIB);
  t.strictSame(all(map), [0, 1020 * 1024, 2040 * 1024 - 1]);
});
