import type { FileSystem, NodeAttributes } from "../filesystem.js";
import type { NativeStat, NativeStatfs } from "./package.js";

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
const PREFERRED_IO_BYTES = 128 * 1024;

const UINT32_END = 2 ** 32;

export function nativeStatOf(node: NodeAttributes): NativeStat {
  const time = Math.floor(node.timeMs);
  return {
    mode: (node.kind === "directory" ? S_IFDIR : S_IFREG) | node.mode,
    uid: node.uid,
    gid: node.gid,
    size: node.size,
    nlink: node.links,
    ino: inode32(node.inode),
    blksize: PREFERRED_IO_BYTES,
    blocks: blocksOf(node),
    atime: time,
    mtime: time,
    ctime: time,
  };
}

/**
 * fuse-native passes on 32 bits of an inode number. Cut off, they still are the same on every run, which is what agents
 * that look for changes need; two files of one tree with the same one are not taken for links, having one link each.
 */
function inode32(inode: number): number {
  return inode % UINT32_END || UINT32_END - 1;
}

function blocksOf(node: NodeAttributes): number {
  const blocks = Math.ceil(node.allocated / STAT_BLOCK_BYTES);
  return node.size > 0 ? Math.max(blocks, BLOCKS_MIN) : blocks;
}

const STATFS_BLOCK_BYTES_MIN = 4096;
const NAME_BYTES_MAX = 255;

/** Blocks of 4 KiB, or as much larger as it takes to count the tree in 32 bits: a 62 TiB disk has 2^34 of 4 KiB. */
export function nativeStatfsOf({ totalBytes, fileCount }: FileSystem): NativeStatfs {
  let size = STATFS_BLOCK_BYTES_MIN;
  while (Math.ceil(totalBytes / size) >= UINT32_END) size *= 2;
  return {
    bsize: size,
    frsize: size,
    blocks: Math.ceil(totalBytes / size),
    files: fileCount,
    namemax: NAME_BYTES_MAX,
  };
}
