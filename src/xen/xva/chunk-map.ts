import { bytes, type Bytes, MIB } from "../../units.js";

/** Every chunk of a disk but the last has this many bytes. */
export const CHUNK_BYTES = MIB;
/** A name has 8 digits; a ninth would come before the eighth in the order of text. */
export const CHUNKS_MAX = 99_999_999;
const WORD_BITS = 32;
/** Counts are kept for groups of this many words: 4 bytes for 512 chunks. */
const GROUP_WORDS = 16;

/** What is known of a disk's holes, asked as of a file: see lseek(2), SEEK_DATA and SEEK_HOLE. */
export interface Holes {
  /** Where data or a hole next begins at or after `at`; "data" gives undefined when only a hole is left. */
  seek(at: Bytes, whence: "data" | "hole"): Bytes | undefined;
}

/**
 * Which chunks of a disk are in the archive: one bit for each, so 256 KiB of memory for 2 TiB. The first is always in,
 * because its length tells a reader how long a missing one is, and so is the last, without which a reader goes on into
 * the next disk.
 */
export class ChunkMap {
  /** Chunks of the whole disk. */
  readonly count: number;
  /** Chunks that are in the archive. */
  readonly included: number;
  readonly #words: Uint32Array;
  /** Chunks that are in before each group. */
  readonly #before: Uint32Array;

  private constructor(count: number, words: Uint32Array) {
    this.count = count;
    this.#words = words;
    this.#before = new Uint32Array(Math.ceil(words.length / GROUP_WORDS));
    let included = 0;
    for (const [index, word] of words.entries()) {
      if (index % GROUP_WORDS === 0) this.#before[index / GROUP_WORDS] = included;
      included += ones(word);
    }
    this.included = included;
  }

  /** @param holes undefined for every chunk, as where nothing is known @throws RangeError beyond 95 TiB */
  static of(size: Bytes, holes: Holes | undefined): ChunkMap {
    const count = Math.ceil(size / CHUNK_BYTES);
    if (count > CHUNKS_MAX)
      throw new RangeError(`Cannot write a disk of ${size} bytes into an archive: it is too large`);
    const words = new Uint32Array(Math.ceil(count / WORD_BITS));
    const include = (first: number, last: number): void => {
      for (let chunk = first; chunk <= last; chunk++) {
        const word = Math.floor(chunk / WORD_BITS);
        words[word] = (words[word] ?? 0) | (1 << (chunk % WORD_BITS));
      }
    };
    if (holes === undefined) {
      include(0, count - 1);
    } else if (count > 0) {
      include(0, 0);
      include(count - 1, count - 1);
      for (let at = holes.seek(bytes(0), "data"); at !== undefined && at < size;) {
        const end = holes.seek(at, "hole") ?? size;
        if (end <= at) throw new RangeError(`Cannot use a map whose data at ${at} ends at ${end}`);
        const last = Math.floor((end - 1) / CHUNK_BYTES);
        include(Math.floor(at / CHUNK_BYTES), Math.min(last, count - 1));
        // Small ranges are many, and this chunk is in.
        const next = (last + 1) * CHUNK_BYTES;
        at = next >= size ? undefined : holes.seek(bytes(next), "data");
      }
    }
    return new ChunkMap(count, words);
  }

  /** The number of the chunk that is the `index`th of the archive, from 0. @throws RangeError beyond the last */
  at(index: number): number {
    if (!(index >= 0 && index < this.included)) throw new RangeError(`There is no chunk ${index}`);
    let group = 0;
    for (let high = this.#before.length; high - group > 1;) {
      const middle = (group + high) >>> 1;
      if ((this.#before[middle] ?? 0) <= index) group = middle;
      else high = middle;
    }
    let rest = index - (this.#before[group] ?? 0);
    for (let word = group * GROUP_WORDS; ; word++) {
      const bits = this.#words[word] ?? 0;
      const inWord = ones(bits);
      if (rest < inWord) return word * WORD_BITS + place(bits, rest);
      rest -= inWord;
    }
  }
}

function ones(word: number): number {
  let pairs = word - ((word >>> 1) & 0x55555555);
  pairs = (pairs & 0x33333333) + ((pairs >>> 2) & 0x33333333);
  return Math.imul((pairs + (pairs >>> 4)) & 0x0f0f0f0f, 0x01010101) >>> 24;
}

/** Where the bit is that has `index` set ones below it. */
function place(word: number, index: number): number {
  let rest = word;
  for (let skipped = 0; skipped < index; skipped++) rest &= rest - 1;
  return WORD_BITS - 1 - Math.clz32(rest & -rest);
}
