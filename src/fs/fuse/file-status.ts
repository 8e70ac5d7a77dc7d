import type { NodeAttributes } from "../filesystem.js";

// What stat(2) says of a node, whoever carries it to the kernel.

/** File types of st_mode (linux/stat.h). */
const S_IFDIR = 0o040000;
const S_IFREG = 0o100000;

const STAT_BLOCK_BYTES = 512;

/**
 * The fewest blocks of a file with bytes: one page. `tar -S` archives a file of 0 blocks as one hole without reading
 * it, which is silent loss.
 */
const BLOCKS_MIN = 8;

/** st_blksize: what programs take as a good buffer size; libfuse asks for as much at once. */
export const PREFERRED_IO_BYTES = 128 * 1024;

/** The file type bits of st_mode. */
export function fileType({ kind }: NodeAttributes): number {
  return kind === "directory" ? S_IFDIR : S_IFREG;
}

/** st_mode: file type and permissions. */
export function modeOf(node: NodeAttributes): number {
  return fileType(node) | node.mode;
}

/** st_blocks, in 512 bytes. */
export function blocksOf(node: NodeAttributes): number {
  const blocks = Math.ceil(node.allocated / STAT_BLOCK_BYTES);
  return node.size > 0 ? Math.max(blocks, BLOCKS_MIN) : blocks;
}
