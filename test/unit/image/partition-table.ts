import fc from "fast-check";
import t from "tap";
import { PARTITION_TABLE_BYTES, partitionStarts } from "../../../src/image/partition-table.js";
import { bytes, MIB } from "../../../src/units.js";
import { holds } from "../../fixtures/property.js";

const SIZE = bytes(64 * MIB);

function mbr(...entries: readonly (readonly [type: number, sector: number])[]): DataView {
  const view = new DataView(new ArrayBuffer(PARTITION_TABLE_BYTES));
  view.setUint16(510, 0x55aa);
  entries.forEach(([type, sector], index) => {
    view.setUint8(446 + 16 * index + 4, type);
    view.setUint32(446 + 16 * index + 8, sector, true);
  });
  return view;
}

function gpt(
  sectors: readonly bigint[],
  head: { readonly entries?: bigint; readonly entryBytes?: number } = {},
): DataView {
  const view = mbr([0xee, 1]);
  "EFI PART".split("").forEach((letter, index) => {
    view.setUint8(512 + index, letter.charCodeAt(0));
  });
  view.setBigUint64(512 + 72, head.entries ?? 2n, true);
  view.setUint32(512 + 80, 0xffffffff, true);
  view.setUint32(512 + 84, head.entryBytes ?? 128, true);
  sectors.forEach((sector, index) => {
    view.setUint8(1024 + 128 * index, sector === 0n ? 0 : 7);
    view.setBigUint64(1024 + 128 * index + 32, sector, true);
  });
  return view;
}

function starts(view: DataView): number[] {
  return partitionStarts(new Uint8Array(view.buffer), SIZE).map((at) => at / 512);
}

await t.test("where partitions begin", (t) => {
  t.strictSame(starts(mbr([0x83, 2048], [0, 4096], [0x05, 8192], [0x82, 8192])), [2048, 8192]);
  t.strictSame(starts(gpt([34n, 0n, 2048n])), [34, 2048]);
  t.strictSame(starts(gpt([2n ** 63n, 131072n, 131071n])), [131071], "only on the disk");
  t.strictSame(starts(mbr([0x83, 0], [0x83, 0xffffffff])), []);
  t.strictSame(starts(gpt([34n], { entries: 3n })), [], "an unusual place");
  t.strictSame(starts(gpt([34n], { entryBytes: 0 })), [], "an unusual size");
  t.strictSame(starts(mbr([0xee, 1])), [], "no header");
  const unsigned = mbr([0x83, 2048]);
  unsigned.setUint16(510, 0);
  t.strictSame(starts(unsigned), []);
  t.end();
});

await t.test("any bytes, and any length of them, are no reason to fail", async (t) => {
  const tables = fc.constantFrom(mbr([0x83, 1], [0x83, 9]), gpt([40n, 80n]));
  const damage = fc.array(fc.tuple(fc.nat(PARTITION_TABLE_BYTES - 1), fc.nat(255)), { maxLength: 20 });
  const property = fc.property(tables, damage, fc.nat(PARTITION_TABLE_BYTES), (table, changes, length) => {
    const head = new Uint8Array(table.buffer.slice(0));
    for (const [at, byte] of changes) head[at] = byte;
    const found = partitionStarts(head.subarray(0, length), SIZE);
    return found.length <= 128 && found.every((at) => at > 0 && at < SIZE && at % 512 === 0);
  });
  await holds(t, property, { runs: 500 });
});
