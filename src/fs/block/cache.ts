import { LRUCache } from "lru-cache";
import { DiskIoError } from "../../errors.js";
import { bytes, type Bytes, MIB } from "../../units.js";

/** The largest FUSE read of Linux, and half a block of VHD: one reader's request is one block. */
const BLOCK_BYTES_DEFAULT = MIB;

/** Room for 2^21 sources of 2^32 blocks in a safe integer. */
const BLOCKS_PER_SOURCE_MAX = 2 ** 32;

export interface CacheStatistics {
  readonly hits: number;
  /** Blocks that a reader had to wait for. */
  readonly misses: number;
  readonly loads: number;
  readonly evictions: number;
  readonly cachedBytes: Bytes;
  readonly inFlightBytes: Bytes;
}

/** Fills `into` with one block's bytes or throws. */
export type LoadBlock = (into: Uint8Array) => Promise<void>;
/** Takes what it wants from a block, at once: the buffer is used again afterwards. */
export type TakeBlock = (block: Uint8Array) => void;

/** A block on its way, and everybody who waits for it. */
interface Load {
  readonly takers: Set<TakeBlock>;
  readonly done: Promise<void>;
}

/**
 * Blocks of several sources in one budget of memory. Loaded and loading blocks together never exceed `bytesMax`, since
 * all live in at most `bytesMax / blockBytes` buffers: a load takes a free buffer, or the one of the least recently used
 * block, or waits in line.
 *
 * lru-cache only orders the loaded blocks. Its own `fetch()` is not used: it lets a block that is still loading be
 * evicted, which rejects its readers, and hardly counts what is in flight.
 */
export class BlockCache {
  readonly blockBytes: number;
  readonly #buffersMax: number;
  readonly #loaded: LRUCache<number, Uint8Array>;
  readonly #loading = new Map<number, Load>();
  readonly #free: Uint8Array[] = [];
  /** Loads that wait for a buffer, first come first served. */
  readonly #line: ((buffer: Uint8Array) => void)[] = [];
  #buffers = 0;
  #sources = 0;
  #sourcesOpen = 0;
  #hits = 0;
  #misses = 0;
  #loads = 0;
  #evictions = 0;

  /** @throws RangeError when not even two blocks fit */
  constructor(options: { readonly bytesMax: number; readonly blockBytes?: number | undefined }) {
    this.blockBytes = bytes(options.blockBytes ?? BLOCK_BYTES_DEFAULT);
    this.#buffersMax = this.blockBytes === 0 ? 0 : Math.floor(bytes(options.bytesMax) / this.blockBytes);
    if (this.#buffersMax < 2) {
      throw new RangeError(
        `Cannot cache blocks of ${this.blockBytes} bytes in ${options.bytesMax} bytes: at least two must fit`,
      );
    }
    this.#loaded = new LRUCache({ maxSize: this.#buffersMax * this.blockBytes, sizeCalculation: (b) => b.byteLength });
  }

  /** Blocks that fit. */
  get blocksMax(): number {
    return this.#buffersMax;
  }

  get statistics(): CacheStatistics {
    return {
      hits: this.#hits,
      misses: this.#misses,
      loads: this.#loads,
      evictions: this.#evictions,
      cachedBytes: bytes(this.#loaded.calculatedSize),
      inFlightBytes: bytes((this.#buffers - this.#free.length) * this.blockBytes - this.#loaded.calculatedSize),
    };
  }

  /** A name for the blocks of one more source. */
  register(): number {
    this.#sourcesOpen++;
    return this.#sources++ * BLOCKS_PER_SOURCE_MAX;
  }

  /**
   * Hands block `key` to `take`, loading it first when it is not there; concurrent readers of one block share a load.
   * A load goes on without its readers: the next one finds the block.
   * @throws what `load` threw; such a block is not kept, the next reader loads again
   */
  async get(key: number, load: LoadBlock, take: TakeBlock, signal: AbortSignal): Promise<void> {
    signal.throwIfAborted();
    const block = this.#loaded.get(key);
    if (block !== undefined) {
      this.#hits++;
      take(block);
      return;
    }
    this.#misses++;
    const loading = this.#loading.get(key) ?? this.#start(key, load);
    loading.takers.add(take);
    let onAbort: () => void = () => undefined;
    try {
      await new Promise<void>((resolve, reject) => {
        onAbort = (): void => {
          // From here on the caller's buffer is its own again.
          loading.takers.delete(take);
          reject(abortReason(signal));
        };
        signal.addEventListener("abort", onAbort, { once: true });
        loading.done.then(resolve, reject);
      });
    } finally {
      signal.removeEventListener("abort", onAbort);
    }
  }

  /**
   * Begins to load a block that nobody waits for yet. Its failure is nobody's: the reader that comes loads again. At
   * most half of the buffers are ever filled this way at one time, so that readers find room.
   * @returns whether the block is there or on its way
   */
  prefetch(key: number, load: LoadBlock): boolean {
    if (this.#loaded.has(key) || this.#loading.has(key)) return true;
    if (this.#loading.size >= this.#buffersMax / 2) return false;
    this.#start(key, load);
    return true;
  }

  /** Waits for the loads of a source and forgets its blocks; its `load` functions must be failing by now. */
  async unregister(source: number): Promise<void> {
    const isOurs = (key: number): boolean => key >= source && key < source + BLOCKS_PER_SOURCE_MAX;
    const loading = [...this.#loading].filter(([key]) => isOurs(key));
    await Promise.allSettled(loading.map(([, load]) => load.done));
    for (const key of [...this.#loaded.keys()].filter(isOurs)) {
      const buffer = this.#loaded.peek(key);
      this.#loaded.delete(key);
      if (buffer !== undefined) this.#release(buffer);
    }
    this.#sourcesOpen--;
    if (this.#sourcesOpen > 0) return;
    this.#buffers -= this.#free.length;
    this.#free.length = 0;
  }

  #start(key: number, load: LoadBlock): Load {
    const takers = new Set<TakeBlock>();
    const done = this.#load(key, load, takers);
    // A prefetch and a load whose readers have all left have nobody to tell.
    done.catch(() => undefined);
    const loading: Load = { takers, done };
    this.#loading.set(key, loading);
    return loading;
  }

  async #load(key: number, load: LoadBlock, takers: ReadonlySet<TakeBlock>): Promise<void> {
    this.#loads++;
    const buffer = await this.#acquire();
    try {
      await load(buffer);
    } catch (error) {
      this.#loading.delete(key);
      this.#release(buffer);
      throw error;
    }
    // Without a pause from here: nobody may see the block both loaded and loading, or a buffer given away half read.
    this.#loading.delete(key);
    for (const take of takers) take(buffer);
    this.#loaded.set(key, buffer);
    this.#serveLine();
  }

  async #acquire(): Promise<Uint8Array> {
    const free = this.#free.pop();
    if (free !== undefined) return free;
    if (this.#buffers < this.#buffersMax) {
      this.#buffers++;
      // Not from Node's pool, which would keep 8 KiB slabs alive; every byte handed out has been filled by a load.
      return Buffer.allocUnsafeSlow(this.blockBytes);
    }
    const evicted = this.#evict();
    if (evicted !== undefined) return evicted;
    return new Promise((resolve) => this.#line.push(resolve));
  }

  #evict(): Uint8Array | undefined {
    const evicted = this.#loaded.pop();
    if (evicted !== undefined) this.#evictions++;
    return evicted;
  }

  #release(buffer: Uint8Array): void {
    this.#free.push(buffer);
    this.#serveLine();
  }

  #serveLine(): void {
    const next = this.#line.shift();
    if (next === undefined) return;
    const buffer = this.#free.pop() ?? this.#evict();
    if (buffer === undefined) this.#line.unshift(next);
    else next(buffer);
  }
}

function abortReason(signal: AbortSignal): Error {
  return signal.reason instanceof Error ? signal.reason : new DiskIoError("Cannot finish a read: it was given up");
}
