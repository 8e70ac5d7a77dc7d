import { bytes, type Bytes, MIB } from "../units.js";

/** The kernel's READs carry 1 MiB: one under way at least, and a second that is being written meanwhile. */
const REPLY_BYTES_MIN = 2 * MIB;
/** Sixteen READs of 1 MiB at once: more would only wait for the same processor. */
const REPLY_BYTES_MAX = 16 * MIB;
/** Of the whole. */
const REPLY_SHARE = 1 / 8;

export interface MemoryShares {
  /** Blocks, loaded and loading. */
  readonly cacheBytes: Bytes;
  /** Answers on their way to the kernel. */
  readonly replyBytes: Bytes;
}

/** Divides `mount.cache_size`, the memory for disk data of one mount, at least 8 MiB. */
export function memoryShares(total: number): MemoryShares {
  const share = Math.floor((total * REPLY_SHARE) / MIB) * MIB;
  const replyBytes = Math.min(REPLY_BYTES_MAX, Math.max(REPLY_BYTES_MIN, share));
  return { cacheBytes: bytes(total - replyBytes), replyBytes: bytes(replyBytes) };
}

/** A cache of few blocks does not work, so a small one gets smaller blocks: a power of two, at most `blockBytes`. */
export function fittingBlockBytes(blockBytes: number, cacheBytes: number): Bytes {
  let fitting = blockBytes;
  while (fitting * BLOCKS_MIN > cacheBytes) fitting /= 2;
  return bytes(fitting);
}

/** One being read, one ahead, one being fetched for somebody else, one to spare. */
const BLOCKS_MIN = 4;
