import type { Bytes } from "../../units.js";
import type { CachedSource } from "./cached.js";
import type { ExtentMap } from "./extent-map.js";

/** A window of 2 blocks costs little when a stream ends as soon as it began. */
export const WINDOW_BLOCKS_MIN = 2;
/** The kernel's own read-ahead sends the requests of one reader out of order, within a few MiB. */
const DISORDER_BYTES = 2 * 1024 * 1024;
/** So many bytes in order are no chance; the reads of someone who jumps about are a few KiB each. */
const PROOF_BYTES = 256 * 1024;
/** The kernel's read-ahead, or an agent with a large buffer: whoever asks for this much goes through the file. */
const LARGE_READ_BYTES = 128 * 1024;
/** After blocks were loaded for nothing, the window does not grow for so long. */
const NO_GROWTH_MS = 5_000;

/** One reader that moves forward through a disk, and how far ahead of it blocks are loaded. */
export class Stream {
  readonly #below: CachedSource;
  readonly #map: ExtentMap | undefined;
  /** Where the furthest read ended. */
  #next: number;
  /** Bytes read in order. */
  #run = 0;
  /** Blocks that reads have moved into since the window grew; data islands in holes count like full blocks. */
  #blocksSinceGrowth = 0;
  /** The first block that has not been asked for. */
  #ahead = 0;
  #window = 0;
  #noGrowthUntilMs = 0;
  lastReadMs = 0;

  /** @param next where the first read ended */
  constructor(below: CachedSource, map: ExtentMap | undefined, next: number) {
    this.#below = below;
    this.#map = map;
    this.#next = next;
  }

  /** Blocks to have ahead; 0 until the stream has proved to be one. */
  get window(): number {
    return this.#window;
  }

  /** Whether a read at `at` goes on where this stream is: a little disorder counts, and a hole that was skipped. */
  continuesAt(at: number): boolean {
    return at >= this.#next - DISORDER_BYTES && at <= this.#reach() + DISORDER_BYTES;
  }

  /** A read that belongs to this stream. */
  read(at: number, length: number): void {
    const end = at + length;
    if (end > this.#next) {
      const { blockBytes } = this.#below;
      const moved = Math.ceil(end / blockBytes) - Math.ceil(this.#next / blockBytes);
      this.#blocksSinceGrowth += Math.min(moved, Math.ceil(length / blockBytes));
      this.#run += length;
      this.#next = end;
    }
    if (this.#window === 0 && (this.#run >= PROOF_BYTES || length >= LARGE_READ_BYTES))
      this.#window = WINDOW_BLOCKS_MIN;
  }

  /** The very start of a disk: almost always the start of a copy. */
  begin(length: number): void {
    this.#run = length;
    this.#blocksSinceGrowth = 1;
    this.#window = WINDOW_BLOCKS_MIN;
  }

  /** A reader had to wait. Growing with the blocks that were read keeps small reads from loading far too much. */
  stalled(nowMs: number, windowMax: number): void {
    if (this.#window === 0 || nowMs < this.#noGrowthUntilMs) return;
    if (this.#blocksSinceGrowth < this.#window / 2) return;
    this.#blocksSinceGrowth = 0;
    this.#window = Math.max(this.#window, Math.min(this.#window * 2, windowMax));
  }

  /** The reader went elsewhere. */
  left(): void {
    if (this.#window > 0) this.#window = Math.max(WINDOW_BLOCKS_MIN, this.#window >> 1);
  }

  /** A block that was loaded for this stream went without having been read: there is less room than its window takes. */
  wasted(nowMs: number): void {
    this.left();
    this.#noGrowthUntilMs = nowMs + NO_GROWTH_MS;
  }

  /**
   * Begins to load the next block within the window, or within `windowMax` when that is less.
   * @param onWasted hears when a block goes unread
   */
  fetchNext(windowMax: number, onWasted: () => void): "started" | "full" | "no room" {
    const { blockBytes, size } = this.#below;
    let block = Math.ceil(this.#next / blockBytes);
    for (let distance = Math.min(this.#window, windowMax); distance > 0; distance--, block++) {
      const data = this.#nextDataBlock(block);
      if (data === undefined || data * blockBytes >= size) return "full";
      block = data;
      if (block < this.#ahead) continue;
      const outcome = this.#below.prefetch(block, onWasted);
      // Asking for the blocks behind it would load them out of order.
      if (outcome === "no room") return outcome;
      this.#ahead = block + 1;
      if (outcome === "started") return outcome;
    }
    return "full";
  }

  /** How far ahead a read still belongs here: the window, or the data behind the hole that a reader skips. */
  #reach(): number {
    const { blockBytes, size } = this.#below;
    const behindHole = this.#next < size ? this.#map?.seek(this.#next as Bytes, "data") : undefined;
    return Math.max(this.#next + this.#window * blockBytes, behindHole ?? this.#next);
  }

  /** The first block from `block` on that is not all hole. */
  #nextDataBlock(block: number): number | undefined {
    const { blockBytes, size } = this.#below;
    const at = block * blockBytes;
    if (this.#map === undefined || at >= size) return block;
    const data = this.#map.seek(at as Bytes, "data");
    return data === undefined ? undefined : Math.floor(data / blockBytes);
  }
}
