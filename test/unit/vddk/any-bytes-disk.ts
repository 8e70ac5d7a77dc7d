import fc from "fast-check";
import t from "tap";
import { bytes } from "../../../src/units.js";
import { AnyBytesDisk } from "../../../src/vddk/any-bytes-disk.js";
import { toldError } from "../../../src/vddk/told-error.js";
import { vixError } from "../../../src/vddk/vix-error.js";
import { patternBytes } from "../../fixtures/block/memory.js";
import { MemoryDisk } from "../../fixtures/nbd/memory-disk.js";
import { holds } from "../../fixtures/property.js";

const SIZE = 16 * 512;
const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

/** Takes whole sectors only, and its time: what runs side by side meets. */
class SlowDisk extends MemoryDisk {
  override async read(into: Uint8Array, at: number): Promise<void> {
    if (at % 512 !== 0 || into.length % 512 !== 0) throw new Error("no whole sectors");
    const content = this.content.slice(at, at + into.length);
    await turn();
    await turn();
    into.set(content);
  }

  override readonly write = async (data: Uint8Array, at: number): Promise<void> => {
    if (at % 512 !== 0 || data.length % 512 !== 0) throw new Error("no whole sectors");
    const content = data.slice();
    await turn();
    this.content.set(content, at);
  };
}

void t.test(
  "side by side, ranges that do not overlap leave each other alone, in whatever sector they are",
  async (t) => {
    const cuts = fc.uniqueArray(fc.nat(SIZE), { minLength: 2, maxLength: 24 });
    const property = fc.asyncProperty(cuts, async (unsorted) => {
      const disk = new SlowDisk("d", patternBytes(SIZE));
      const any = new AnyBytesDisk(disk);
      const plain = disk.content.slice();
      const ends = unsorted.sort((a, b) => a - b);
      await Promise.all(
        ends.slice(1).map(async (end, index) => {
          const from = ends[index]!;
          // Every third range is only read.
          if (index % 3 === 2) {
            const into = new Uint8Array(end - from);
            await any.read(into, bytes(from));
            if (Buffer.compare(into, plain.subarray(from, end)) !== 0) throw new Error(`read at ${from}`);
            return;
          }
          const data = new Uint8Array(end - from).fill(0x80 + index);
          plain.set(data, from);
          await any.write(data, bytes(from));
        }),
      );
      return Buffer.compare(disk.content, plain) === 0;
    });
    await holds(t, property, { runs: 200 });
    const any = new AnyBytesDisk(new SlowDisk("d", new Uint8Array(SIZE)));
    t.match(any, { name: "d", size: SIZE, blockBytes: { minimum: 1 } });
    t.equal("extents" in any, false);
  },
);

void t.test("clients that write learn why it failed, where the protocol has a word for it", (t) => {
  const cases = [
    [8, 28],
    [11, 1],
    [16_007, 28],
    [14_011, 5],
    [4711, 5],
    // A failure with the errno ENOSPC, and one with the same number of another kind.
    [0x1c_0400_0007n, 28],
    [0x1c_0d00_0007n, 5],
  ] as const;
  for (const [code, told] of cases) t.equal(toldError(vixError(code)), told, String(code));
  t.end();
});
