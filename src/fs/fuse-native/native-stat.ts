import { type FileSystem, NAME_BYTES_MAX, type NodeAttributes } from "../filesystem.js";
import { blocksOf, modeOf, PREFERRED_IO_BYTES } from "../fuse/file-status.js";
import type { NativeStat, NativeStatfs } from "./package.js";

const UINT32_END = 2 ** 32;

export function nativeStatOf(node: NodeAttributes): NativeStat {
  const time = Math.floor(node.timeMs);
  return {
    mode: modeOf(node),
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

const STATFS_BLOCK_BYTES_MIN = 4096;

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
