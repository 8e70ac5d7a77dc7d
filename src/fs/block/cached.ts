import { setMaxListeners } from "node:events";
import type { BlockSource, ReadOptions } from "../../block-source.js";
import { DiskIoError } from "../../errors.js";
import { bytes, type Bytes } from "../../units.js";
import type { BlockCache, LoadBlock } from "./cache.js";
import { checkRange, filtered, type PartialRead, readParts } from "./filter.js";

/** A source that can be told what will be read soon. */
export interface PrefetchingSource extends BlockSource {
  readonly blockBytes: number;
  /** How many blocks one stream of reads may have ahead of it: the cache is there for others too. */
  readonly prefetchBlocksMax: number;
  /** @returns false when there is no room for `block` (an index) now */
  prefetch(block: number): boolean;
}

/** One stream gets a quarter of the cache, so that four streams do not evict each other's blocks before they are read. */
const STREAMS_MIN = 4;

/** Reads of `below` in whole blocks through `cache`, which other sources may share. */
export function cached(below: BlockSource, cache: BlockCache): PrefetchingSource {
  const { blockBytes } = cache;
  const source = cache.register();
  const closing = new AbortController();
  // Every load listens; Node takes more than 10 listeners for a leak.
  setMaxListeners(0, closing.signal);
  let closed: Promise<void> | undefined;

  const load =
    (block: number): LoadBlock =>
    async (into) => {
      // Not the reader's signal: others may wait for the same block.
      const { signal } = closing;
      signal.throwIfAborted();
      const at = bytes(block * blockBytes);
      await below.read(into.subarray(0, Math.min(blockBytes, below.size - at)), at, { signal });
    };
  const close = async (): Promise<void> => {
    closing.abort(new DiskIoError("Cannot read: the disk has been closed"));
    await cache.unregister(source);
    await below[Symbol.asyncDispose]();
  };
  const read = async (into: Uint8Array, at: Bytes, { signal }: ReadOptions): Promise<void> => {
    checkRange(below.size, at, into.length);
    closing.signal.throwIfAborted();
    signal.throwIfAborted();
    const parts: PartialRead[] = [];
    for (let done = 0; done < into.length;) {
      const block = Math.floor((at + done) / blockBytes);
      const begin = at + done - block * blockBytes;
      const part = into.subarray(done, done + Math.min(blockBytes - begin, into.length - done));
      const take = (bytesOfBlock: Uint8Array): void => {
        part.set(bytesOfBlock.subarray(begin, begin + part.length));
      };
      parts.push((partSignal) => cache.get(source + block, load(block), take, partSignal));
      done += part.length;
    }
    await readParts(parts, signal);
  };
  return {
    ...filtered(below, { read, [Symbol.asyncDispose]: () => (closed ??= close()) }),
    blockBytes,
    prefetchBlocksMax: Math.max(1, Math.floor(cache.blocksMax / STREAMS_MIN)),
    prefetch: (block) =>
      !closing.signal.aborted && block * blockBytes < below.size && cache.prefetch(source + block, load(block)),
  };
}
