import t from "tap";
import { limited, readLimit } from "../../../../src/fs/block/limited.js";
import { bytes } from "../../../../src/units.js";
import { gatedSource } from "../../../fixtures/block/gated.js";
import { patternBytes } from "../../../fixtures/block/memory.js";

const content = patternBytes(100);
const { signal } = new AbortController();

function setUp(parallelMax: number) {
  const disk = gatedSource(content);
  const source = limited(disk, readLimit(parallelMax));
  const read = (at: number, readSignal = signal): Promise<void> =>
    source.read(new Uint8Array(1), bytes(at), { signal: readSignal });
  return { disk, read };
}

void t.test("no more reads run than allowed, and they start in order", async (t) => {
  const { disk, read } = setUp(2);
  const reads = [read(0), read(1), read(2), read(3)];
  for (const [first, second] of [
    [0, 1],
    [1, 2],
    [2, 3],
  ]) {
    await disk.untilWaiting(2);
    t.strictSame(
      disk.waiting.map(({ at }) => at),
      [first, second],
    );
    disk.waiting[0]?.finish();
  }
  await disk.untilWaiting(1);
  disk.waiting[0]?.finish();
  await Promise.all(reads);
  t.strictSame(disk.offsets, [0, 1, 2, 3]);
});

void t.test("a read that fails gives up its place", async (t) => {
  const { disk, read } = setUp(1);
  const failing = t.rejects(read(0), { message: "broken" });
  const next = read(1);
  await disk.untilWaiting(1);
  disk.waiting[0]?.finish(new Error("broken"));
  await failing;
  await disk.untilWaiting(1);
  disk.waiting[0]?.finish();
  await next;
  t.strictSame(disk.offsets, [0, 1]);
});

void t.test("a read that is aborted in line ends at once and never starts", async (t) => {
  const { disk, read } = setUp(1);
  const first = read(0);
  await disk.untilWaiting(1);
  const aborting = new AbortController();
  const second = read(1, aborting.signal);
  const third = read(2);
  aborting.abort(new Error("enough"));
  await t.rejects(second, { message: "enough" });
  disk.waiting[0]?.finish();
  await first;
  await disk.untilWaiting(1);
  disk.waiting[0]?.finish();
  await third;
  t.strictSame(disk.offsets, [0, 2]);
});

void t.test("a running read that is aborted ends when the source has ended it", async (t) => {
  const { disk, read } = setUp(1);
  const aborting = new AbortController();
  const reading = read(0, aborting.signal);
  await disk.untilWaiting(1);
  aborting.abort(new Error("enough"));
  await t.rejects(reading, { message: "enough" });
  t.equal(disk.waiting.length, 0);
});

void t.test("disks that share a limit share its places", async (t) => {
  const limit = readLimit(1);
  const disks = [gatedSource(content), gatedSource(content)] as const;
  const reads = disks.map((disk) => limited(disk, limit).read(new Uint8Array(1), bytes(0), { signal }));
  await disks[0].untilWaiting(1);
  t.equal(disks[1].waiting.length, 0);
  disks[0].waiting[0]?.finish();
  await disks[1].untilWaiting(1);
  disks[1].waiting[0]?.finish();
  await Promise.all(reads);
});

void t.test("readLimit() wants at least one place", (t) => {
  t.throws(() => readLimit(0), TypeError);
  t.end();
});
