import type { BlockCache } from "./cache.js";
import { type Stream, WINDOW_BLOCKS_MIN } from "./stream.js";

/** A stream that has not been read for so long takes no share of the cache any more. */
const IDLE_MS = 10_000;

/**
 * Loads blocks ahead for all streams of a mount, one block each in turn, whenever the cache has room. Half of the cache is
 * there for it, divided by the streams that are alive, so that they do not evict each other's blocks before they are read.
 */
export class Prefetcher {
  readonly #cache: BlockCache;
  readonly #windowMax: number;
  readonly #now: () => number;
  readonly #alive = new Set<Stream>();
  /** Streams whose window may not be full, in turn. */
  readonly #hungry = new Set<Stream>();

  /** @param options.windowMax blocks ahead of one stream; 0 loads nothing ahead. `now` never goes back */
  constructor(cache: BlockCache, options: { readonly windowMax: number; readonly now?: () => number }) {
    this.#cache = cache;
    this.#windowMax = options.windowMax;
    this.#now = options.now ?? ((): number => performance.now());
    cache.onRoom = (): void => {
      this.#fetch();
    };
  }

  /** A read of this stream has begun: what it will need next may be loaded. */
  advanced(stream: Stream): void {
    stream.lastReadMs = this.#now();
    if (stream.window === 0 || this.#windowMax === 0) return;
    this.#alive.add(stream);
    this.#hungry.add(stream);
    this.#fetch();
  }

  /** A read of this stream had to wait. */
  stalled(stream: Stream): void {
    if (!this.#alive.has(stream)) return;
    stream.stalled(this.#now(), this.#share());
    this.#hungry.add(stream);
    this.#fetch();
  }

  /** Nobody reads it any more. */
  end(stream: Stream): void {
    this.#alive.delete(stream);
    this.#hungry.delete(stream);
  }

  #share(): number {
    const idleSince = this.#now() - IDLE_MS;
    for (const stream of this.#alive) if (stream.lastReadMs < idleSince) this.end(stream);
    const share = Math.floor(this.#cache.blocksMax / 2 / Math.max(1, this.#alive.size));
    return Math.min(this.#windowMax, Math.max(WINDOW_BLOCKS_MIN, share));
  }

  #fetch(): void {
    if (this.#hungry.size === 0) return;
    const share = this.#share();
    for (const stream of this.#hungry) {
      const outcome = stream.fetchNext(share, () => {
        stream.wasted(this.#now());
      });
      if (outcome === "no room") return;
      this.#hungry.delete(stream);
      // To the end of the line; this loop comes by again.
      if (outcome === "started") this.#hungry.add(stream);
    }
  }
}
