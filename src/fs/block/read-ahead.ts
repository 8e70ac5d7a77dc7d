import type { BlockSource } from "../../block-source.js";
import type { CachedSource, ReadPattern } from "./cached.js";
import type { ExtentMap } from "./extent-map.js";
import { filtered } from "./filter.js";
import type { Prefetcher } from "./prefetcher.js";
import { Stream } from "./stream.js";

export interface ReadAheadOptions {
  readonly prefetcher: Prefetcher;
  /** Holes are not loaded and do not count as distance. */
  readonly map?: ExtentMap | undefined;
}

/** An agent with several threads reads one file in several places; a fifth place replaces the idlest. */
const STREAMS_MAX = 4;

/**
 * Notices readers that move forward and has blocks loaded ahead of them. Every open file has a reader of its own. Only
 * reads trigger it: a reader that stops or jumps away leaves nothing running but the loads already begun.
 */
export function readAhead(below: CachedSource, options: ReadAheadOptions): BlockSource {
  const view = (end: () => Promise<void>): BlockSource => {
    const streams = new Streams(below, options);
    return filtered(below, {
      async read(into, at, readOptions) {
        const { stream, pattern } = streams.at(at, into.length);
        const reading = below.readAs(pattern, into, at, readOptions);
        // After the read itself: what a reader waits for goes first.
        if (stream !== undefined) options.prefetcher.advanced(stream);
        if ((await reading) === "waited" && stream !== undefined) options.prefetcher.stalled(stream);
      },
      reader: () => view(() => Promise.resolve()),
      async [Symbol.asyncDispose]() {
        streams.end();
        await end();
      },
    });
  };
  return view(() => Promise.resolve(below[Symbol.asyncDispose]()));
}

/** The streams of one reader, most recently used first. */
class Streams {
  readonly #below: CachedSource;
  readonly #options: ReadAheadOptions;
  readonly #streams: Stream[] = [];

  constructor(below: CachedSource, options: ReadAheadOptions) {
    this.#below = below;
    this.#options = options;
  }

  at(at: number, length: number): { readonly stream: Stream | undefined; readonly pattern: ReadPattern } {
    if (length === 0 || at + length > this.#below.size) return { stream: undefined, pattern: "random" };
    const index = this.#streams.findIndex((stream) => stream.continuesAt(at));
    const [found] = index < 0 ? [] : this.#streams.splice(index, 1);
    const stream = found ?? this.#begin(at, length);
    this.#streams.unshift(stream);
    for (const idlest of this.#streams.splice(STREAMS_MAX)) this.#options.prefetcher.end(idlest);
    if (found !== undefined) found.read(at, length);
    return { stream, pattern: stream.window > 0 ? "sequential" : "random" };
  }

  end(): void {
    for (const stream of this.#streams.splice(0)) this.#options.prefetcher.end(stream);
  }

  #begin(at: number, length: number): Stream {
    this.#streams[0]?.left();
    const stream = new Stream(this.#below, this.#options.map, at + length);
    if (at === 0) stream.begin(length);
    return stream;
  }
}
