import type { NodeAttributes } from "../filesystem.js";
import { blocksOf, fileType, modeOf, PREFERRED_IO_BYTES } from "./file-status.js";
import type { Attr, EntryOut } from "./protocol.js";
import { VALID_SECONDS } from "./validity.js";

/** d_type of a directory entry is st_mode >> 12. */
const TYPE_SHIFT = 12;

export function direntType(node: NodeAttributes): number {
  return fileType(node) >> TYPE_SHIFT;
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
    mode: modeOf(node),
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
