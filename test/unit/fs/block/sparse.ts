import t from "tap";
import { ExtentMap } from "../../../../src/fs/block/extent-map.js";
import { metered, ReadMeter } from "../../../../src/fs/block/metered.js";
import { sparse } from "../../../../src/fs/block/sparse.js";
import { bytes, KIB } from "../../../../src/units.js";
import { gatedSource } from "../../../fixtures/block/gated.js";
import { memorySource, patternBytes } from "../../../fixtures/block/memory.js";

const { signal } = new AbortController();

/** Data and holes in turn, `lengths` in KiB, beginning with data. */
async function setUp(...lengths: number[]) {
  const content = patternBytes(lengths.reduce((a, b) => a + b, 0) * KIB);
  let at = 0;
  const extents = lengths.map((length, i) => {
    const kind = i % 2 === 0 ? ("data" as const) : ("hole" as const);
    const extent = { kind, start: bytes(at), length: bytes(length * KIB) };
    at += length * KIB;
    if (kind === "hole") content.fill(0, extent.start, at);
    return extent;
  });
  const map = await ExtentMap.collect(bytes(content.length), extents);
  const meter = new ReadMeter();
  return { content, meter, map, source: sparse(metered(memorySource(content), meter), map) };
}

void t.test("a hole is zeros without any read", async (t) => {
  const { source, meter } = await setUp(4, 256, 4);
  const into = new Uint8Array(100 * KIB).fill(7);
  await source.read(into, bytes(64 * KIB), { signal });
  t.ok(into.every((byte) => byte === 0));
  t.equal(meter.reading.reads, 0);
  await t.rejects(source.read(into, bytes(64 * KIB), { signal: AbortSignal.abort(new Error("enough")) }), {
    message: "enough",
  });
});

void t.test("only data is read, in as few reads as short holes allow", async (t) => {
  const { content, source, meter } = await setUp(8, 128, 8, 4, 8, 64, 8);
  const into = new Uint8Array(content.length).fill(7);
  await source.read(into, bytes(0), { signal });
  t.equal(Buffer.compare(into, content), 0);
  t.match(meter.reading, { reads: 3, bytes: (8 + 20 + 8) * KIB });
});

void t.test("extents come from the map", async (t) => {
  const { source } = await setUp(4, 4, 4);
  const kinds: string[] = [];
  for await (const { kind, length } of source.extents?.(bytes(1024), bytes(8 * KIB), { signal }) ?? []) {
    kinds.push(`${kind} ${length}`);
  }
  t.strictSame(kinds, ["data 3072", "hole 4096", "data 1024"]);
});

void t.test("a map of another size is refused", async (t) => {
  const { map } = await setUp(4);
  t.throws(() => sparse(memorySource(patternBytes(512)), map), RangeError);
});

void t.test("a failure ends the reads beside it", async (t) => {
  const { content, map } = await setUp(8, 128, 8);
  const disk = gatedSource(content);
  const reading = sparse(disk, map).read(new Uint8Array(content.length), bytes(0), { signal });
  const rejected = t.rejects(reading, { message: "broken" });
  await disk.untilWaiting(2);
  disk.waiting[0]?.finish(new Error("broken"));
  await rejected;
  t.equal(disk.waiting.length, 0);
});
