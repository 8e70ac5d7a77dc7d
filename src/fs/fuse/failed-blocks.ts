import { MIB } from "../../units.js";
import type { Inode } from "../filesystem.js";

/** As the block stack reads: when one page of a block failed, so do the others. */
const BLOCK_BYTES = MIB;

/** Longer than a reader needs to walk through the pages of a block, shorter than anybody's patience for a retry. */
const REMEMBER_MS = 1500;

/** Failures remembered at once: 1 GiB of failed blocks. Beyond that the oldest are forgotten and simply tried again. */
const BLOCKS_MAX = 1024;

/**
 * Blocks whose read failed a moment ago. The kernel answers a failed READ by asking for each of its pages again, one
 * at a time; without this every one of those 256 requests would go to the hypervisor and fail there.
 */
export class FailedBlocks {
  readonly #until = new Map<string, number>();
  readonly #now: () => number;

  /** @param now milliseconds of a clock that never goes back */
  constructor(now: () => number = () => performance.now()) {
    this.#now = now;
  }

  has(inode: Inode, at: number, length: number): boolean {
    if (this.#until.size === 0) return false;
    const block = blockOf(at, length);
    if (block === undefined) return false;
    const key = `${inode}:${block}`;
    const until = this.#until.get(key);
    if (until === undefined) return false;
    if (this.#now() < until) return true;
    this.#until.delete(key);
    return false;
  }

  /**
   * A read across a border says nothing about which of its blocks is bad, and remembering both would withhold good
   * data: only a read within one block counts. The kernel's page-by-page retries are such reads.
   */
  add(inode: Inode, at: number, length: number): void {
    const block = blockOf(at, length);
    if (block === undefined) return;
    const key = `${inode}:${block}`;
    this.#until.delete(key);
    this.#until.set(key, this.#now() + REMEMBER_MS);
    for (const oldest of this.#until.keys()) {
      if (this.#until.size <= BLOCKS_MAX) break;
      this.#until.delete(oldest);
    }
  }
}

/** The only block of a range, or undefined when it has several. */
function blockOf(at: number, length: number): number | undefined {
  const first = Math.floor(at / BLOCK_BYTES);
  const last = Math.floor((at + Math.max(length, 1) - 1) / BLOCK_BYTES);
  return first === last ? first : undefined;
}
