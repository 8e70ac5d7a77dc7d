import type { BlockSource } from "../../block-source.js";
import type { Bytes } from "../../units.js";
import type { PrefetchingSource } from "./cached.js";
import type { ExtentMap } from "./extent-map.js";
import { filtered } from "./filter.js";

export interface ReadAheadOptions {
  /** How far ahead of a sequential reader blocks are loaded; clamped to what the cache allows one stream. */
  readonly blocksMax: number;
  /** Holes are not loaded and do not count as distance. */
  readonly map?: ExtentMap | undefined;
}

/** Several agents, or one with several threads, read one disk at a time; a fifth stream replaces the idlest. */
const STREAMS_MAX = 4;
/** Two reads in a row may be chance; a window of 2 costs little when they were. */
const WINDOW_BLOCKS_MIN = 2;
/** The kernel's own read-ahead sends the requests of one reader out of order, within a few MiB. */
const DISORDER_BYTES = 2 * 1024 * 1024;

interface Stream {
  /** Where the furthest read of this stream ended. */
  next: number;
  /** Bytes read in order. */
  run: number;
  /** Blocks to have ahead; 0 until the stream has proved to be one. */
  window: number;
  /** The first block that has not been asked for. */
  ahead: number;
}

/**
 * Notices readers that move forward and loads blocks ahead of them, doubling the distance until `blocksMax`. Only reads
 * trigger it: a reader that stops or jumps away leaves nothing running but the loads already begun.
 */
export function readAhead(below: PrefetchingSource, options: ReadAheadOptions): BlockSource {
  const detector = new StreamDetector(below, options);
  return filtered(below, {
    read: (into, at, readOptions) => {
      const reading = below.read(into, at, readOptions);
      // After the read itself: what a reader waits for goes first.
      detector.onRead(at, into.length);
      return reading;
    },
  });
}

class StreamDetector {
  readonly #below: PrefetchingSource;
  readonly #map: ExtentMap | undefined;
  readonly #windowMax: number;
  /** Most recently used first. */
  readonly #streams: Stream[] = [];

  constructor(below: PrefetchingSource, options: ReadAheadOptions) {
    this.#below = below;
    this.#map = options.map;
    this.#windowMax = Math.min(options.blocksMax, below.prefetchBlocksMax);
  }

  onRead(at: number, length: number): void {
    const { blockBytes, size } = this.#below;
    const end = at + length;
    if (length === 0 || end > size || this.#windowMax < 1) return;
    const index = this.#streams.findIndex(
      (stream) => at >= stream.next - DISORDER_BYTES && at <= this.#reach(stream) + DISORDER_BYTES,
    );
    const [found] = index < 0 ? [] : this.#streams.splice(index, 1);
    const stream = found ?? { next: end, run: 0, window: 0, ahead: 0 };
    this.#streams.unshift(stream);
    this.#streams.length = Math.min(this.#streams.length, STREAMS_MAX);
    if (found !== undefined && end <= found.next) return;
    stream.run += length;
    stream.next = end;
    // A first read at the very start is almost always the start of a copy.
    const windowMin = found === undefined && at > 0 ? 0 : WINDOW_BLOCKS_MIN;
    // Growing with what was read, not with the number of reads, keeps small reads from loading far too much.
    const grown = stream.run >= stream.window * blockBytes ? stream.window * 2 : stream.window;
    stream.window = Math.min(Math.max(grown, windowMin), this.#windowMax);
    if (stream.window > 0) this.#fill(stream);
  }

  /** How far ahead a read still belongs to a stream: its window, or the data behind the hole that a reader skips. */
  #reach({ next, window }: Stream): number {
    const { blockBytes, size } = this.#below;
    const behindHole = next < size ? this.#map?.seek(next as Bytes, "data") : undefined;
    return Math.max(next + window * blockBytes, behindHole ?? next);
  }

  #fill(stream: Stream): void {
    const { blockBytes, size } = this.#below;
    let block = Math.ceil(stream.next / blockBytes);
    for (let distance = 0; distance < stream.window; distance++, block++) {
      const data = this.#nextDataBlock(block);
      if (data === undefined || data * blockBytes >= size) return;
      block = data;
      if (block < stream.ahead) continue;
      // No room: asking for the blocks behind it would load them out of order.
      if (!this.#below.prefetch(block)) return;
      stream.ahead = block + 1;
    }
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
