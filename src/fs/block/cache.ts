import { LRUCache } from "lru-cache";
import { DiskIoError } from "../../errors.js";
import { bytes, type Bytes, MIB } from "../../units.js";
import { Fragments, type FragmentSlab, type Place } from "./fragments.js";
import { Slabs } from "./slabs.js";

/** The largest FUSE read of Linux, and half a block of VHD: one reader's request is one block. */
const BLOCK_BYTES_DEFAULT = MIB;

/** 64 KiB of a 1 MiB block: what a single 4 KiB read costs; a request to a server costs about as much as sending that. */
export const FRAGMENTS_PER_BLOCK = 16;

/** Keys of one block: its own and its fragments'. */
const KEYS_PER_BLOCK = 32;
/** Room for 2^16 sources of 2^32 blocks in a safe integer. */
const KEYS_PER_SOURCE = 2 ** 32 * KEYS_PER_BLOCK;

export interface CacheStatistics {
  readonly hits: number;
  /** Blocks and fragments that a reader had to wait for. */
  readonly misses: number;
  readonly loads: number;
  readonly prefetches: number;
  /** Blocks loaded ahead and thrown away without having been read. */
  readonly wasted: number;
  readonly evictions: number;
  readonly cachedBytes: Bytes;
  readonly inFlightBytes: Bytes;
}

/** Fills `into` with one block's or fragment's bytes or throws. */
export type Load = (into: Uint8Array) => Promise<void>;
/** Takes what it wants, at once: the buffer is used again afterwards. */
export type Take = (bytes: Uint8Array) => void;
/** Whether the bytes were there or had to be waited for. */
export type ReadOutcome = "hit" | "waited";

interface Loading {
  readonly takers: Set<Take>;
  readonly done: Promise<void>;
}

interface HeldBlock {
  readonly kind: "block";
  readonly bytes: Uint8Array;
  /** Present while a block that was loaded ahead has not been read. */
  onWasted: (() => void) | undefined;
}

export interface CacheOptions {
  readonly bytesMax: number;
  readonly blockBytes?: number | undefined;
  /** Loads that may run at once before loading ahead has to wait; a function, since it is measured. */
  readonly parallel?: (() => number) | undefined;
  /** How long a reader waits for its data, room for it included; without, for ever. `onGivenUp` hears of each failure. */
  readonly patience?: { readonly waitMs: number; readonly onGivenUp: (error: Error) => void } | undefined;
}

/**
 * Blocks of several sources, and fragments of blocks, in one budget of memory. What is loaded and what is loading together
 * never exceed `bytesMax`, since all live in at most `bytesMax / blockBytes` buffers. What gives way first: blocks that a
 * sequential reader has passed, then what was used least recently.
 *
 * lru-cache only orders what is loaded. Its own `fetch()` is not used: it lets a block that is still loading be evicted,
 * which rejects its readers, and hardly counts what is in flight.
 */
export class BlockCache {
  readonly blockBytes: number;
  readonly fragmentBytes: number;
  /** Called whenever a load has ended, so that loading ahead may go on. */
  onRoom: () => void = () => undefined;
  readonly #slabs: Slabs;
  readonly #fragments: Fragments;
  readonly #parallel: () => number;
  readonly #patience: CacheOptions["patience"];
  /** By key; full slabs of fragments by their id. */
  readonly #held: LRUCache<number, HeldBlock | FragmentSlab>;
  /** Read to their end by a sequential reader; the kernel has them in its own cache now. Oldest first. */
  readonly #passed = new Map<number, HeldBlock>();
  readonly #loading = new Map<number, Loading>();
  #sources = 0;
  #sourcesOpen = 0;
  #hits = 0;
  #misses = 0;
  #loads = 0;
  #prefetches = 0;
  #wasted = 0;
  #evictions = 0;

  /** @throws RangeError when not even two blocks fit */
  constructor(options: CacheOptions) {
    this.blockBytes = bytes(options.blockBytes ?? BLOCK_BYTES_DEFAULT);
    this.fragmentBytes = Math.ceil(this.blockBytes / FRAGMENTS_PER_BLOCK);
    const countMax = this.blockBytes === 0 ? 0 : Math.floor(bytes(options.bytesMax) / this.blockBytes);
    if (countMax < 2) {
      throw new RangeError(
        `Cannot cache blocks of ${this.blockBytes} bytes in ${options.bytesMax} bytes: at least two must fit`,
      );
    }
    this.#parallel = options.parallel ?? ((): number => countMax);
    this.#patience = options.patience;
    this.#slabs = new Slabs(this.blockBytes, countMax, () => this.#evict());
    this.#held = new LRUCache({ max: countMax });
    this.#fragments = new Fragments(this.fragmentBytes, {
      acquire: () => this.#slabs.acquire(),
      settle: (slab) => {
        this.#held.set(slab.id, slab);
        this.#slabs.serveLine();
      },
    });
  }

  /** Blocks that fit. */
  get blocksMax(): number {
    return this.#slabs.countMax;
  }

  get statistics(): CacheStatistics {
    const held = this.#held.size + this.#passed.size;
    return {
      hits: this.#hits,
      misses: this.#misses,
      loads: this.#loads,
      prefetches: this.#prefetches,
      wasted: this.#wasted,
      evictions: this.#evictions,
      cachedBytes: bytes(held * this.blockBytes),
      inFlightBytes: bytes((this.#slabs.inUse - held) * this.blockBytes),
    };
  }

  /** The first key of one more source. */
  register(): number {
    this.#sourcesOpen++;
    return this.#sources++ * KEYS_PER_SOURCE;
  }

  blockKey(source: number, block: number): number {
    return source + block * KEYS_PER_BLOCK;
  }

  fragmentKey(source: number, fragment: number): number {
    const block = Math.floor(fragment / FRAGMENTS_PER_BLOCK);
    return this.blockKey(source, block) + 1 + (fragment - block * FRAGMENTS_PER_BLOCK);
  }

  /** Whether the block or fragment is there or on its way. */
  has(key: number): boolean {
    return this.#held.has(key) || this.#passed.has(key) || this.#fragments.has(key) || this.#loading.has(key);
  }

  /**
   * Hands block or fragment `key` to `take`, loading it first when it is not there; concurrent readers share a load. A load
   * goes on without its readers: the next one finds the bytes.
   * @throws what `load` threw; nothing is kept then, the next reader loads again; DiskIoError after too long a wait
   */
  async get(key: number, load: Load, take: Take, signal: AbortSignal): Promise<ReadOutcome> {
    signal.throwIfAborted();
    const found = this.#find(key);
    if (found !== undefined) {
      this.#hits++;
      take(found);
      return "hit";
    }
    this.#misses++;
    const loading = this.#loading.get(key) ?? this.#start(key, load);
    loading.takers.add(take);
    let onAbort: () => void = () => undefined;
    let timer: NodeJS.Timeout | undefined;
    try {
      await new Promise<void>((resolve, reject) => {
        const leave = (reason: Error): void => {
          // From here on the caller's buffer is its own again.
          loading.takers.delete(take);
          reject(reason);
        };
        onAbort = (): void => {
          leave(abortReason(signal));
        };
        signal.addEventListener("abort", onAbort, { once: true });
        loading.done.then(resolve, reject);
        if (this.#patience === undefined) return;
        const { waitMs, onGivenUp } = this.#patience;
        timer = setTimeout(() => {
          const error = new DiskIoError(`Cannot read: no memory and no answer within ${waitMs / 1000} s`);
          onGivenUp(error);
          leave(error);
        }, waitMs);
      });
    } finally {
      clearTimeout(timer);
      signal.removeEventListener("abort", onAbort);
    }
    return "waited";
  }

  /**
   * Begins to load a block that nobody waits for yet. Its failure is nobody's: the reader that comes loads again. At
   * most half of the buffers are ever filled this way at one time, so that readers find room.
   * @param onWasted hears when the block is thrown away without having been read
   */
  prefetch(key: number, load: Load, onWasted: () => void): "there" | "started" | "no room" {
    if (this.has(key)) return "there";
    if (this.#loading.size >= Math.min(this.blocksMax / 2, this.#parallel())) return "no room";
    this.#prefetches++;
    this.#start(key, load, onWasted);
    return "started";
  }

  /** A sequential reader is done with this block: it goes before all others. */
  passed(key: number): void {
    const block = this.#held.peek(key);
    if (block?.kind !== "block") return;
    this.#held.delete(key);
    this.#passed.set(key, block);
  }

  /** Waits for the loads of a source and forgets its blocks; its `load` functions must be failing by now. */
  async unregister(source: number): Promise<void> {
    const isOurs = (key: number): boolean => key >= source && key < source + KEYS_PER_SOURCE;
    const loading = [...this.#loading].filter(([key]) => isOurs(key));
    await Promise.allSettled(loading.map(([, load]) => load.done));
    this.#fragments.drop(isOurs);
    for (const key of [...this.#held.keys(), ...this.#passed.keys()].filter(isOurs)) this.#free(key);
    this.#sourcesOpen--;
    if (this.#sourcesOpen > 0) return;
    for (const key of [...this.#held.keys()]) this.#free(key);
    const filling = this.#fragments.end();
    if (filling !== undefined) this.#slabs.release(filling);
    this.#slabs.drop();
  }

  #find(key: number): Uint8Array | undefined {
    const held = this.#held.get(key) ?? this.#passed.get(key);
    if (held !== undefined) {
      if (held.kind === "block") held.onWasted = undefined;
      return held.bytes;
    }
    const fragment = this.#fragments.find(key);
    // Its slab counts as used; one that is still being filled is not in the list.
    if (fragment !== undefined) this.#held.get(fragment.slab.id);
    return fragment?.bytes;
  }

  #start(key: number, load: Load, onWasted?: () => void): Loading {
    const takers = new Set<Take>();
    const done = this.#load(key, load, takers, onWasted);
    // A prefetch and a load whose readers have all left have nobody to tell.
    done.catch(() => undefined);
    const loading: Loading = { takers, done };
    this.#loading.set(key, loading);
    return loading;
  }

  async #load(key: number, load: Load, takers: ReadonlySet<Take>, onWasted?: () => void): Promise<void> {
    this.#loads++;
    let place: Place | undefined;
    try {
      place = await (key % KEYS_PER_BLOCK === 0 ? this.#blockPlace() : this.#fragments.reserve());
      await load(place.bytes);
    } catch (error) {
      this.#loading.delete(key);
      place?.discard();
      this.onRoom();
      throw error;
    }
    // Without a pause from here: nobody may see the bytes both loaded and loading, or a buffer given away half read.
    this.#loading.delete(key);
    for (const take of takers) take(place.bytes);
    place.keep(key, takers.size === 0 ? onWasted : undefined);
    this.onRoom();
  }

  async #blockPlace(): Promise<Place> {
    const slab = await this.#slabs.acquire();
    return {
      bytes: slab,
      keep: (key, onWasted) => {
        this.#held.set(key, { kind: "block", bytes: slab, onWasted });
        this.#slabs.serveLine();
      },
      discard: () => {
        this.#slabs.release(slab);
      },
    };
  }

  #evict(): Uint8Array | undefined {
    for (const [key, block] of this.#passed) {
      this.#passed.delete(key);
      this.#evictions++;
      return block.bytes;
    }
    const held = this.#held.pop();
    if (held === undefined) return undefined;
    this.#evictions++;
    if (held.kind === "fragments") this.#fragments.forget(held);
    else if (held.onWasted !== undefined) {
      this.#wasted++;
      held.onWasted();
    }
    return held.bytes;
  }

  #free(key: number): void {
    const held = this.#held.peek(key) ?? this.#passed.get(key);
    this.#held.delete(key);
    this.#passed.delete(key);
    if (held !== undefined) this.#slabs.release(held.bytes);
  }
}

function abortReason(signal: AbortSignal): Error {
  return signal.reason instanceof Error ? signal.reason : new DiskIoError("Cannot finish a read: it was given up");
}
