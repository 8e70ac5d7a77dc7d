import type { ByteReader } from "./byte-reader.js";
import type { WritableDisk } from "./disk-bytes.js";

/** A block is kept in memory as a whole. */
const BLOCK_BYTES_MAX = 64 * 1024 * 1024;

/**
 * xapi's own protocol for the parts of a disk that hold data: a little-endian u64 offset and u32 length before each block, and
 * twelve bytes of zeros at the end.
 * @throws EndOfStream, RangeError for a block that is too large or beyond the end of the disk
 */
export async function readBlocks(bytes: ByteReader, disk: WritableDisk): Promise<void> {
  for (;;) {
    const head = await bytes.take(12);
    const [offset, length] = [Number(head.readBigUInt64LE(0)), head.readUInt32LE(8)];
    if (offset === 0 && length === 0) return;
    if (length > BLOCK_BYTES_MAX) throw new RangeError(`a block of ${length} bytes is too large`);
    await disk.write(offset, await bytes.take(length));
  }
}
