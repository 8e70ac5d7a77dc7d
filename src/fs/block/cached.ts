import { setMaxListeners } from "node:events";
import type { BlockSource, ReadOptions } from "../../block-source.js";
import { DiskIoError } from "../../errors.js";
import { bytes, type Bytes } from "../../units.js";
import { type BlockCache, FRAGMENTS_PER_BLOCK, type Load, type ReadOutcome } from "./cache.js";
import { checkRange, filtered, readParts } from "./filter.js";

/** "sequential": more of the same will follow; "random": probably nothing beside it will be read. */
export type ReadPattern = "sequential" | "random";

/** A source that may be told how it is read, and what will be read soon. */
export interface CachedSource extends BlockSource {
  readonly blockBytes: number;
  /** Like `read`, which takes every read for a part of a sequential one. */
  readAs(pattern: ReadPattern, into: Uint8Array, at: Bytes, options: ReadOptions): Promise<ReadOutcome>;
  /** @param block an index. @param onWasted hears when the block goes without having been read */
  prefetch(block: number, onWasted: () => void): "there" | "started" | "no room";
}

/** A random read of more than two fragments costs about as much as one of the whole block. */
const FRAGMENTS_PER_READ_MAX = 2;
/** Who comes back to a block for the fifth time will come again: then it is loaded as a whole. */
const FRAGMENTS_BEFORE_BLOCK = 4;

/** A block or fragment, and the part of a read that it answers. */
interface Piece {
  readonly key: number;
  /** Where the block or fragment begins on the disk, and its length there. */
  readonly start: number;
  readonly length: number;
  readonly into: Uint8Array;
  /** Where the part begins in the block or fragment. */
  readonly from: number;
}

/** Reads of `below` through `cache`, which other sources may share: in whole blocks, or in fragments of them. */
export function cached(below: BlockSource, cache: BlockCache): CachedSource {
  const reader = new CachedReader(below, cache);
  return {
    ...filtered(below, {
      read: async (into, at, options) => {
        await reader.readAs("sequential", into, at, options);
      },
      [Symbol.asyncDispose]: () => reader.close(),
    }),
    blockBytes: cache.blockBytes,
    readAs: (pattern, into, at, options) => reader.readAs(pattern, into, at, options),
    prefetch: (block, onWasted) => reader.prefetch(block, onWasted),
  };
}

class CachedReader {
  readonly #below: BlockSource;
  readonly #cache: BlockCache;
  readonly #source: number;
  readonly #closing = new AbortController();
  #closed: Promise<void> | undefined;

  constructor(below: BlockSource, cache: BlockCache) {
    this.#below = below;
    this.#cache = cache;
    this.#source = cache.register();
    // Every load listens; Node takes more than 10 listeners for a leak.
    setMaxListeners(0, this.#closing.signal);
  }

  async readAs(pattern: ReadPattern, into: Uint8Array, at: Bytes, { signal }: ReadOptions): Promise<ReadOutcome> {
    checkRange(this.#below.size, at, into.length);
    this.#closing.signal.throwIfAborted();
    signal.throwIfAborted();
    let outcome: ReadOutcome = "hit";
    const pieces = [...this.#pieces(pattern, into, at)];
    const parts = pieces.map(({ key, start, length, into: part, from }) => async (partSignal: AbortSignal) => {
      const take = (held: Uint8Array): void => {
        part.set(held.subarray(from, from + part.length));
      };
      const got = await this.#cache.get(key, this.#load(start, length), take, partSignal);
      if (got === "waited") outcome = got;
    });
    await readParts(parts, signal);
    if (pattern === "sequential") this.#passed(pieces);
    return outcome;
  }

  prefetch(block: number, onWasted: () => void): "there" | "started" | "no room" {
    const { blockBytes } = this.#cache;
    const start = block * blockBytes;
    // There is nothing to wait for, here or behind the end.
    if (this.#closing.signal.aborted || start >= this.#below.size) return "there";
    return this.#cache.prefetch(this.#cache.blockKey(this.#source, block), this.#load(start, blockBytes), onWasted);
  }

  close(): Promise<void> {
    return (this.#closed ??= this.#close());
  }

  async #close(): Promise<void> {
    this.#closing.abort(new DiskIoError("Cannot read: the disk has been closed"));
    await this.#cache.unregister(this.#source);
    await this.#below[Symbol.asyncDispose]();
  }

  *#pieces(pattern: ReadPattern, into: Uint8Array, at: number): Generator<Piece> {
    const { blockBytes } = this.#cache;
    const end = at + into.length;
    for (let here = at; here < end;) {
      const block = Math.floor(here / blockBytes);
      const start = block * blockBytes;
      const stop = Math.min(start + blockBytes, end);
      if (pattern === "sequential" || this.#deservesBlock(block, stop - here)) {
        const key = this.#cache.blockKey(this.#source, block);
        yield { key, start, length: blockBytes, into: into.subarray(here - at, stop - at), from: here - start };
      } else {
        yield* this.#fragmentPieces(into.subarray(here - at, stop - at), here, start);
      }
      here = stop;
    }
  }

  /** @param start of the block: fragments are counted from there */
  *#fragmentPieces(into: Uint8Array, at: number, start: number): Generator<Piece> {
    const { fragmentBytes, blockBytes } = this.#cache;
    const end = at + into.length;
    for (let here = at; here < end;) {
      const index = Math.floor((here - start) / fragmentBytes);
      const begin = start + index * fragmentBytes;
      const stop = Math.min(begin + fragmentBytes, end);
      const key = this.#cache.fragmentKey(this.#source, (start / blockBytes) * FRAGMENTS_PER_BLOCK + index);
      yield { key, start: begin, length: fragmentBytes, into: into.subarray(here - at, stop - at), from: here - begin };
      here = stop;
    }
  }

  #deservesBlock(block: number, length: number): boolean {
    if (length > FRAGMENTS_PER_READ_MAX * this.#cache.fragmentBytes) return true;
    if (this.#cache.has(this.#cache.blockKey(this.#source, block))) return true;
    let held = 0;
    for (let index = 0; index < FRAGMENTS_PER_BLOCK; index++) {
      if (this.#cache.has(this.#cache.fragmentKey(this.#source, block * FRAGMENTS_PER_BLOCK + index))) held++;
    }
    return held >= FRAGMENTS_BEFORE_BLOCK;
  }

  #load(start: number, length: number): Load {
    return async (into) => {
      // Not the reader's signal: others may wait for the same bytes.
      const { signal } = this.#closing;
      signal.throwIfAborted();
      const at = bytes(start);
      await this.#below.read(into.subarray(0, Math.min(length, this.#below.size - at)), at, { signal });
    };
  }

  /** Blocks read to their end: the page cache of the kernel has them now. */
  #passed(pieces: readonly Piece[]): void {
    for (const { key, length, into, from } of pieces) if (from + into.length === length) this.#cache.passed(key);
  }
}
