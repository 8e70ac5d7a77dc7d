import { SECTOR_BYTES } from "../../../units.js";
import type { ByteReader } from "./byte-reader.js";
import { isZero, type WritableDisk } from "./disk-bytes.js";
import { checksum } from "./vhd-layout.js";

const UNUSED = 0xffffffff;
/** Entries of the table that are taken: 8 TiB of 2 MiB blocks. */
const BLOCKS_MAX = 4 * 1024 * 1024;
const BLOCK_BYTES_MAX = 64 * 1024 * 1024;

/** The stream is no VHD, or not one that can be read front to back. */
export class BadVhd extends Error {
  constructor(why: string) {
    super(why);
    this.name = "BadVhd";
  }
}

interface Extent {
  readonly block: number;
  readonly sector: number;
}

/**
 * Writes the blocks of a dynamic or differencing VHD that arrives as a stream: in the order in which they lie in it, with what
 * is between them passed over. Sectors that the bitmap leaves out are not written.
 * @throws BadVhd, EndOfStream, RangeError from a disk that is too small
 */
export async function readVhdStream(bytes: ByteReader, disk: WritableDisk): Promise<void> {
  const footer = await bytes.take(SECTOR_BYTES);
  if (footer.toString("latin1", 0, 8) !== "conectix") throw new BadVhd("the copy of the footer is missing");
  verify(footer, 64);
  const type = footer.readUInt32BE(60);
  if (type !== 3 && type !== 4) throw new BadVhd(`disks of type ${type} cannot be streamed`);
  const sizeBytes = Number(footer.readBigUInt64BE(48));
  let at = Number(footer.readBigUInt64BE(16));
  if (at < SECTOR_BYTES) throw new BadVhd("the header lies before the footer's end");
  await bytes.skip(at - SECTOR_BYTES);
  const header = await bytes.take(1024);
  at += header.length;
  if (header.toString("latin1", 0, 8) !== "cxsparse") throw new BadVhd("the header is missing");
  verify(header, 36);
  const { extents, end } = await readTable(bytes, header, at);
  at = end;
  const blockBytes = header.readUInt32BE(32);
  for (const { block, sector } of extents) {
    await bytes.skip(sector * SECTOR_BYTES - at);
    at = sector * SECTOR_BYTES + (await copyBlock(bytes, disk, block * blockBytes, blockBytes, sizeBytes));
  }
  await bytes.take(SECTOR_BYTES);
}

async function readTable(bytes: ByteReader, header: Buffer, at: number): Promise<{ extents: Extent[]; end: number }> {
  const tableAt = Number(header.readBigUInt64BE(16));
  const entries = header.readUInt32BE(28);
  const blockBytes = header.readUInt32BE(32);
  if (tableAt < at || entries > BLOCKS_MAX) throw new BadVhd("the table cannot be where the header says");
  if (blockBytes === 0 || blockBytes > BLOCK_BYTES_MAX || blockBytes % SECTOR_BYTES !== 0) {
    throw new BadVhd(`blocks cannot have ${blockBytes} bytes`);
  }
  await bytes.skip(tableAt - at);
  const table = await bytes.take(Math.ceil((entries * 4) / SECTOR_BYTES) * SECTOR_BYTES);
  const extents: Extent[] = [];
  for (let block = 0; block < entries; block++) {
    const sector = table.readUInt32BE(block * 4);
    if (sector !== UNUSED) extents.push({ block, sector });
  }
  extents.sort((a, b) => a.sector - b.sector);
  let next = (tableAt + table.length) / SECTOR_BYTES;
  const blockSectors = bitmapBytes(blockBytes) / SECTOR_BYTES + blockBytes / SECTOR_BYTES;
  for (const { sector } of extents) {
    if (sector < next) throw new BadVhd("blocks lie over each other, or before the table");
    next = sector + blockSectors;
  }
  return { extents, end: tableAt + table.length };
}

async function copyBlock(
  bytes: ByteReader,
  disk: WritableDisk,
  at: number,
  blockBytes: number,
  sizeBytes: number,
): Promise<number> {
  const bitmap = await bytes.take(bitmapBytes(blockBytes));
  const data = await bytes.take(blockBytes);
  // Images are rounded up to whole blocks; what is behind the end of the disk must be zeros then.
  const end = Math.min(blockBytes, disk.sizeBytes - at);
  if (at + blockBytes > sizeBytes + blockBytes || !isZero(data.subarray(Math.max(0, end)))) {
    throw new BadVhd("there is data behind the end of the disk");
  }
  for (let from = 0; from < end;) {
    const isHere = isSet(bitmap, from);
    let to = from + SECTOR_BYTES;
    while (to < end && isSet(bitmap, to) === isHere) to += SECTOR_BYTES;
    if (isHere) await disk.write(at + from, data.subarray(from, Math.min(to, end)));
    from = to;
  }
  return bitmap.length + data.length;
}

function bitmapBytes(blockBytes: number): number {
  return Math.ceil(blockBytes / SECTOR_BYTES / 8 / SECTOR_BYTES) * SECTOR_BYTES;
}

/** The highest bit of a byte is the first sector. */
function isSet(bitmap: Buffer, offset: number): boolean {
  const sector = offset / SECTOR_BYTES;
  return (bitmap.readUInt8(sector >> 3) & (0x80 >> (sector & 7))) !== 0;
}

function verify(bytes: Buffer, checksumAt: number): void {
  const zeroed = Buffer.from(bytes);
  zeroed.writeUInt32BE(0, checksumAt);
  if (checksum(zeroed) !== bytes.readUInt32BE(checksumAt)) throw new BadVhd("a checksum is wrong");
}
