import type { NodeAttributes } from "../filesystem.js";
import type { Attr, EntryOut } from "./protocol.js";

/** The tree never changes while mounted, so the kernel may keep names and attributes: a day, in seconds. */
export const VALID_SECONDS = 24 * 3600;

/** File types of st_mode (linux/stat.h). */
const S_IFDIR = 0o040000;
const S_IFREG = 0o100000;

/** d_type of a directory entry is st_mode >> 12. */
const TYPE_SHIFT = 12;

const STAT_BLOCK_BYTES = 512;

/**
 * The fewest blocks of a file with bytes: one page. `tar -S` archives a file of 0 blocks as one hole without reading
 * it, which is silent loss.
 */
const BLOCKS_MIN = 8;

/** st_blksize: what programs take as a good buffer size. */
const PREFERRED_IO_BYTES = 128 * 1024;

function blocksOf(node: NodeAttributes): number {
  const blocks = Math.ceil(node.allocated / STAT_BLOCK_BYTES);
  return node.size > 0 ? Math.max(blocks, BLOCKS_MIN) : blocks;
}

function typeOf(node: NodeAttributes): number {
  return node.kind === "directory" ? S_IFDIR : S_IFREG;
}

export function direntType(node: NodeAttributes): number {
  return typeOf(node) >> TYPE_SHIFT;
}

export function attrOf(node: NodeAttributes): Attr {
  const seconds = Math.floor(node.timeMs / 1000);
  const nanoseconds = Math.floor((node.timeMs - seconds * 1000) * 1e6);
  return {
    ino: node.inode,
    size: node.size,
    blocks: blocksOf(node),
    atime: seconds,
    mtime: seconds,
    ctime: seconds,
    atimensec: nanoseconds,
    mtimensec: nanoseconds,
    ctimensec: nanoseconds,
    mode: typeOf(node) | node.mode,
    nlink: node.links,
    uid: node.uid,
    gid: node.gid,
    rdev: 0,
    blksize: PREFERRED_IO_BYTES,
    flags: 0,
  };
}

/** Inodes are the protocol's node ids: both call the root 1, and an inode is never used for another object. */
export function entryOf(node: NodeAttributes): EntryOut {
  return {
    nodeid: node.inode,
    generation: 0,
    entryValid: VALID_SECONDS,
    attrValid: VALID_SECONDS,
    entryValidNsec: 0,
    attrValidNsec: 0,
    attr: attrOf(node),
  };
}

/** An all-zero attr, for entries without a node. */
const NO_ATTR: Attr = {
  ino: 0,
  size: 0,
  blocks: 0,
  atime: 0,
  mtime: 0,
  ctime: 0,
  atimensec: 0,
  mtimensec: 0,
  ctimensec: 0,
  mode: 0,
  nlink: 0,
  uid: 0,
  gid: 0,
  rdev: 0,
  blksize: 0,
  flags: 0,
};

/** "No such name", with a validity: the kernel remembers it and does not ask again. ENOENT would not be remembered. */
export const NEGATIVE_ENTRY: EntryOut = {
  nodeid: 0,
  generation: 0,
  entryValid: VALID_SECONDS,
  attrValid: 0,
  entryValidNsec: 0,
  attrValidNsec: 0,
  attr: NO_ATTR,
};

/** For "." and ".." in READDIRPLUS: they carry no lookup. */
export const NO_ENTRY: EntryOut = { ...NEGATIVE_ENTRY, entryValid: 0 };
