import t from "tap";
import { DiskIoError, UnreachableError } from "../../../../src/errors.js";
import { failingFast } from "../../../../src/fs/block/failing-fast.js";
import { filtered } from "../../../../src/fs/block/filter.js";
import { bytes } from "../../../../src/units.js";
import { memorySource, patternBytes } from "../../../fixtures/block/memory.js";

/** A source whose reads fail while `broken` says so, and a clock. */
function setUp(): { source: ReturnType<typeof failingFast>; state: { broken: boolean; now: number; reads: number } } {
  const state = { broken: true, now: 0, reads: 0 };
  const memory = memorySource(patternBytes(4096));
  const below = filtered(memory, {
    read: async (into, at, options) => {
      state.reads++;
      options.signal.throwIfAborted();
      if (state.broken) throw new DiskIoError(`broken at ${at}`);
      await memory.read(into, at, options);
    },
  });
  return { source: failingFast(below, { now: () => state.now }), state };
}

const { signal } = new AbortController();
const block = new Uint8Array(512);

void t.test("a read that failed fails again at once, and is tried again later", async (t) => {
  const { source, state } = setUp();
  await t.rejects(source.read(block, bytes(512), { signal }), { message: "broken at 512" });
  await t.rejects(source.read(block, bytes(512), { signal }), { message: "broken at 512" });
  t.equal(state.reads, 1, "the second was not asked below");
  await t.rejects(source.read(block, bytes(1024), { signal }), { message: "broken at 1024" });
  t.equal(state.reads, 2, "another place is another read");
  state.now = 5_000;
  await t.rejects(source.read(block, bytes(512), { signal }), { message: "broken at 512" });
  t.equal(state.reads, 3);
  state.now = 10_000;
  state.broken = false;
  await source.read(block, bytes(512), { signal });
  await source.read(block, bytes(512), { signal });
  t.equal(state.reads, 5, "nothing is remembered of what works");
});

void t.test("a reader that gave up leaves nothing behind", async (t) => {
  const { source, state } = setUp();
  const gone = AbortSignal.abort(new Error("gone"));
  await t.rejects(source.read(block, bytes(0), { signal: gone }), { message: "gone" });
  state.broken = false;
  await source.read(block, bytes(0), { signal });
  t.equal(state.reads, 2);
});

void t.test("a shorter read is tried where the disk failed, since it may end before that place", async (t) => {
  const memory = memorySource(patternBytes(4096));
  let failure: Error = new DiskIoError("a bad sector");
  let reads = 0;
  const below = filtered(memory, {
    read: async (into, at, options) => {
      reads++;
      if (into.length > 512) throw failure;
      await memory.read(into, at, options);
    },
  });
  const source = failingFast(below);
  const long = new Uint8Array(2048);
  await t.rejects(source.read(long, bytes(0), { signal }), { message: "a bad sector" });
  await source.read(block, bytes(0), { signal });
  t.same(block, patternBytes(4096).subarray(0, 512));
  await t.rejects(source.read(long, bytes(0), { signal }), { message: "a bad sector" });
  t.equal(reads, 2, "the long one is remembered beside the short one");
  failure = new UnreachableError("nobody answers");
  await t.rejects(source.read(long, bytes(1024), { signal }), { message: "nobody answers" });
  await t.rejects(source.read(block, bytes(1024), { signal }), { message: "nobody answers" });
  t.equal(reads, 3, "a server that is gone is not asked for less");
});
