import { randomBytes } from "node:crypto";
import { SECTOR_BYTES } from "../../../units.js";
import type { ReadableDisk } from "./disk-bytes.js";
import { VHD_BLOCK_BYTES, VHD_TABLE_AT, vhdFooter, vhdHeader, type VhdParent } from "./vhd-layout.js";

const UNUSED = 0xffffffff;
/** One bit for each sector of a block, all of them set. */
const BITMAP = Buffer.alloc(SECTOR_BYTES, 0xff);

interface VhdSource {
  readonly disk: ReadableDisk;
  /** Numbers of the blocks to send, each of 2 MiB, rising. */
  readonly blocks: readonly number[];
  /** Path of the image that the stream is a difference to. */
  readonly basePath: string | undefined;
}

/**
 * A disk as a dynamic or differencing VHD in the order in which xapi sends it: everything that tells where data is comes first.
 * Blocks come whole, their bitmaps all ones, what is no data in them as zeros. The size is rounded up to whole blocks.
 */
export async function* vhdStream({ disk, blocks, basePath }: VhdSource): AsyncGenerator<Buffer> {
  const blockCount = Math.ceil(disk.sizeBytes / VHD_BLOCK_BYTES);
  const parent: VhdParent | undefined = basePath === undefined ? undefined : { uuid: randomBytes(16), path: basePath };
  const footer = vhdFooter(blockCount * VHD_BLOCK_BYTES, parent);
  yield footer;
  yield vhdHeader(blockCount, parent);
  yield Buffer.alloc(SECTOR_BYTES);
  yield allocationTable(blockCount, blocks);
  for (const number of blocks) {
    const at = number * VHD_BLOCK_BYTES;
    const length = Math.min(VHD_BLOCK_BYTES, disk.sizeBytes - at);
    yield BITMAP;
    yield await disk.read(at, length);
    if (length < VHD_BLOCK_BYTES) yield Buffer.alloc(VHD_BLOCK_BYTES - length);
  }
  yield footer;
}

function allocationTable(blockCount: number, blocks: readonly number[]): Buffer {
  const table = Buffer.alloc(Math.ceil((blockCount * 4) / SECTOR_BYTES) * SECTOR_BYTES, 0xff);
  let sector = (VHD_TABLE_AT + table.length) / SECTOR_BYTES;
  for (const number of blocks) {
    table.writeUInt32BE(sector, number * 4);
    sector += (SECTOR_BYTES + VHD_BLOCK_BYTES) / SECTOR_BYTES;
  }
  if (sector > UNUSED) throw new RangeError("a VHD of this size has no room in its table");
  return table;
}
