import { unlessAborted } from "../../unless-aborted.js";
import type { Checksum } from "./checksum.js";
import { CHUNK_BYTES } from "./chunk-map.js";

/** Hashes kept: those of 64 GiB, in some 7 MiB of memory. */
const HASHES_MAX = 65_536;
/** Chunks of which parts have been read, 1 MiB each: a few readers that go forward, and what the kernel reads ahead. */
const GATHERED_MAX = 4;
/** Buffers in shared memory. V8 does not count them as garbage, so that none is ever dropped; who needs more has ordinary ones. */
const SHARED_MAX = 8;

export interface ChunkPlace {
  /** Place of the disk in the archive. */
  readonly disk: number;
  readonly chunk: number;
  readonly chunkBytes: number;
}

interface Gathered {
  readonly data: Buffer;
  /** Ranges that have come: ascending, apart from each other. */
  covered: (readonly [from: number, to: number])[];
  /** Reads under way that will bring more. */
  readonly underWay: Set<Promise<unknown>>;
  /** Who still needs the buffer: reads under way, and the list of those gathered, or the hash after it. */
  users: number;
}

/**
 * Hashes of chunks. A reader that goes forward has read the data before it comes to the hash: what passes is gathered, so
 * that the data are fetched once. A hash alone costs a fetch of its chunk. All that is kept is bounded.
 */
export class ChunkHashes {
  readonly #checksum: Checksum;
  /** In the order of their last use. */
  readonly #known = new Map<number, Promise<string>>();
  readonly #gathered = new Map<number, Gathered>();
  /** In shared memory, all of them. */
  readonly #spare: Buffer[] = [];
  #shared = 0;
  #zeros: Promise<string> | undefined;

  constructor(checksum: Checksum) {
    this.#checksum = checksum;
  }

  /** Of a whole chunk of zeros. */
  async ofZeros(): Promise<string> {
    this.#zeros ??= this.#checksum.of(Buffer.alloc(CHUNK_BYTES));
    return await this.#zeros;
  }

  /**
   * Reads a part of a chunk, and keeps what a hash will need of it.
   * @param from in the chunk
   */
  async passing(place: ChunkPlace, from: number, into: Uint8Array, read: () => Promise<void>): Promise<void> {
    const key = keyOf(place);
    // Who begins in the middle will hardly read all of it.
    if (from === 0 && !this.#known.has(key) && !this.#gathered.has(key)) this.#begin(key);
    const gathered = this.#gathered.get(key);
    const reading = read();
    if (gathered === undefined) {
      await reading;
      return;
    }
    gathered.underWay.add(reading);
    gathered.users++;
    try {
      await reading;
      gathered.data.set(into, from);
      gathered.covered = merged([...gathered.covered, [from, from + into.length]]);
      this.#finish(key, gathered, place.chunkBytes);
    } finally {
      gathered.underWay.delete(reading);
      this.#leave(gathered);
    }
  }

  /** @param load fetches the whole chunk */
  async of(place: ChunkPlace, load: (into: Uint8Array) => Promise<void>, signal: AbortSignal): Promise<string> {
    const key = keyOf(place);
    const gathered = this.#gathered.get(key);
    while (gathered !== undefined && gathered.underWay.size > 0 && !this.#known.has(key)) {
      // Until one of them has ended, however.
      await unlessAborted(Promise.race([...gathered.underWay].map(ended)), signal);
    }
    const known = this.#known.get(key);
    if (known !== undefined) {
      this.#keep(key, known);
      return await known;
    }
    const data = this.#buffer();
    try {
      const chunk = data.subarray(0, place.chunkBytes);
      await load(chunk);
      const hash = this.#checksum.of(chunk);
      this.#keep(key, hash);
      return await hash;
    } finally {
      this.#giveBack(data);
    }
  }

  clear(): void {
    this.#known.clear();
    for (const key of [...this.#gathered.keys()]) this.#drop(key);
    this.#shared -= this.#spare.length;
    this.#spare.length = 0;
  }

  #begin(key: number): void {
    const data = this.#buffer();
    this.#gathered.set(key, { data, covered: [], underWay: new Set(), users: 1 });
    const [oldest] = this.#gathered.keys();
    if (this.#gathered.size > GATHERED_MAX && oldest !== undefined) this.#drop(oldest);
  }

  #finish(key: number, gathered: Gathered, chunkBytes: number): void {
    const [first] = gathered.covered;
    const isWhole = first !== undefined && first[0] === 0 && first[1] === chunkBytes;
    if (!isWhole || this.#gathered.get(key) !== gathered) return;
    this.#gathered.delete(key);
    const hash = this.#checksum.of(gathered.data.subarray(0, chunkBytes));
    this.#keep(key, hash);
    hash.then(
      () => {
        this.#leave(gathered);
      },
      () => {
        this.#known.delete(key);
        this.#leave(gathered);
      },
    );
  }

  #drop(key: number): void {
    const gathered = this.#gathered.get(key);
    this.#gathered.delete(key);
    if (gathered !== undefined) this.#leave(gathered);
  }

  /** Reads under way may still write into it. */
  #leave(gathered: Gathered): void {
    if (--gathered.users === 0) this.#giveBack(gathered.data);
  }

  #keep(key: number, hash: Promise<string>): void {
    this.#known.delete(key);
    this.#known.set(key, hash);
    const [oldest] = this.#known.keys();
    if (this.#known.size > HASHES_MAX && oldest !== undefined) this.#known.delete(oldest);
  }

  /** Shared with the thread that hashes. */
  #buffer(): Buffer {
    const spare = this.#spare.pop();
    if (spare !== undefined) return spare;
    if (this.#shared === SHARED_MAX) return Buffer.allocUnsafeSlow(CHUNK_BYTES);
    this.#shared++;
    return Buffer.from(new SharedArrayBuffer(CHUNK_BYTES));
  }

  #giveBack(data: Buffer): void {
    if (data.buffer instanceof SharedArrayBuffer) this.#spare.push(data);
  }
}

/** Chunk numbers have 8 digits. */
function keyOf({ disk, chunk }: ChunkPlace): number {
  return disk * 1e8 + chunk;
}

function merged(ranges: (readonly [from: number, to: number])[]): (readonly [from: number, to: number])[] {
  const result: (readonly [from: number, to: number])[] = [];
  for (const [from, to] of ranges.sort(([a], [b]) => a - b)) {
    const last = result.at(-1);
    if (last !== undefined && from <= last[1]) result[result.length - 1] = [last[0], Math.max(last[1], to)];
    else result.push([from, to]);
  }
  return result;
}

async function ended(promise: Promise<unknown>): Promise<void> {
  await promise.catch(() => undefined);
}
