import { bytes, type Bytes, SECTOR_BYTES } from "../units.js";

/** What `partitionStarts` looks at: MBR, GPT header and the 32 sectors of its usual 128 entries. */
export const PARTITION_TABLE_BYTES = 34 * SECTOR_BYTES;

const MBR_ENTRIES_AT = 446;
const MBR_ENTRY_BYTES = 16;
const MBR_ENTRIES = 4;
/** The partition type of the MBR that only protects a GPT. */
const PROTECTIVE = 0xee;
const GPT_SIGNATURE = "EFI PART";
const GPT_ENTRY_BYTES = 128;
const GPT_ENTRIES_MAX = 128;
const GPT_ENTRIES_SECTOR = 2;

/**
 * Where the partitions of a disk begin, as its MBR or GPT says; empty without a table. Good for looking there and for
 * nothing else: the table's checksums are not checked, logical partitions and unusual layouts are left out.
 * @param head the first bytes of the disk, of any content
 */
export function partitionStarts(head: Uint8Array, diskSize: Bytes): Bytes[] {
  const view = new DataView(head.buffer, head.byteOffset, head.byteLength);
  if (view.byteLength < SECTOR_BYTES || view.getUint16(SECTOR_BYTES - 2) !== 0x55aa) return [];
  const sectors: number[] = [];
  for (let entry = 0; entry < MBR_ENTRIES; entry++) {
    const at = MBR_ENTRIES_AT + entry * MBR_ENTRY_BYTES;
    const type = view.getUint8(at + 4);
    if (type === PROTECTIVE) return onDisk(gptSectors(view), diskSize);
    if (type !== 0) sectors.push(view.getUint32(at + 8, true));
  }
  return onDisk(sectors, diskSize);
}

function gptSectors(view: DataView): number[] {
  if (view.byteLength < SECTOR_BYTES * GPT_ENTRIES_SECTOR) return [];
  const signature = Array.from(GPT_SIGNATURE, (letter) => letter.charCodeAt(0));
  if (signature.some((byte, index) => view.getUint8(SECTOR_BYTES + index) !== byte)) return [];
  const entriesSector = view.getBigUint64(SECTOR_BYTES + 72, true);
  const entryBytes = view.getUint32(SECTOR_BYTES + 84, true);
  if (entriesSector !== BigInt(GPT_ENTRIES_SECTOR) || entryBytes !== GPT_ENTRY_BYTES) return [];
  const count = Math.min(view.getUint32(SECTOR_BYTES + 80, true), GPT_ENTRIES_MAX);
  const sectors: number[] = [];
  for (let entry = 0; entry < count; entry++) {
    const at = GPT_ENTRIES_SECTOR * SECTOR_BYTES + entry * GPT_ENTRY_BYTES;
    if (at + GPT_ENTRY_BYTES > view.byteLength) break;
    const isUsed = view.getBigUint64(at, true) !== 0n || view.getBigUint64(at + 8, true) !== 0n;
    if (isUsed) sectors.push(Number(view.getBigUint64(at + 32, true)));
  }
  return sectors;
}

function onDisk(sectors: readonly number[], diskSize: Bytes): Bytes[] {
  const last = Math.floor(diskSize / SECTOR_BYTES) - 1;
  const inside = sectors.filter((sector) => sector > 0 && sector <= last);
  return [...new Set(inside)].map((sector) => bytes(sector * SECTOR_BYTES));
}
