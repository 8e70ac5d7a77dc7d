import type { Extent } from "../../block-source.js";
import { IntegrityError } from "../../errors.js";
import { bytes, type Bytes } from "../../units.js";

/**
 * Data ranges kept per disk: 16 bytes each, so 4 MiB of memory. At 64 KiB a range that describes the most fragmented
 * 32 GiB exactly; beyond, small holes are read instead of skipped.
 */
const DATA_RANGES_MAX = 262_144;

/**
 * Which ranges of a disk hold data; everything else is a hole and reads as zeros. Immutable.
 *
 * A wrong map is silent corruption in an agent that skips holes, so a map is only built from extents that are in order
 * and cover the disk without gap or overlap, and whenever ranges must be given up, holes become data, never the reverse.
 */
export class ExtentMap {
  readonly size: Bytes;
  /** Bytes of all data ranges. */
  readonly allocated: Bytes;
  /** start, end, start, end … of the data ranges: ascending, apart from each other, none empty. */
  readonly #borders: Float64Array;

  private constructor(size: Bytes, borders: Float64Array) {
    this.size = size;
    this.#borders = borders;
    let allocated = 0;
    for (let i = 0; i < borders.length; i += 2) allocated += (borders[i + 1] ?? 0) - (borders[i] ?? 0);
    this.allocated = bytes(allocated);
  }

  /** For a disk whose allocation is unknown. */
  static allData(size: Bytes): ExtentMap {
    return new ExtentMap(size, Float64Array.from(size === 0 ? [] : [0, size]));
  }

  /**
   * @param extents the extents of the whole disk, from 0 to `size`
   * @throws IntegrityError when they are out of order, overlap, leave a gap, or do not end at `size`
   */
  static async collect(
    size: Bytes,
    extents: AsyncIterable<Extent> | Iterable<Extent>,
    options: { readonly rangesMax?: number } = {},
  ): Promise<ExtentMap> {
    const ranges = new RangeCollector(options.rangesMax ?? DATA_RANGES_MAX);
    let at = 0;
    for await (const { kind, start, length } of extents) {
      if (start !== at || length <= 0 || !Number.isSafeInteger(length) || start + length > size) {
        throw new IntegrityError(
          `Cannot use the allocation map of a disk of ${size} bytes: ` +
            `${length} bytes of ${kind} at ${start} do not follow ${at}`,
        );
      }
      at += length;
      if (kind === "data") ranges.add(start, at);
    }
    if (at !== size) {
      throw new IntegrityError(`Cannot use the allocation map of a disk of ${size} bytes: it ends at ${at}`);
    }
    return new ExtentMap(size, Float64Array.from(ranges.borders));
  }

  /** Ranges of data. */
  get rangeCount(): number {
    return this.#borders.length / 2;
  }

  /**
   * Where data or a hole next begins at or after `at`, which is below the size. "data" gives undefined when only a hole
   * is left; "hole" gives the size when no hole is left.
   */
  seek(at: Bytes, whence: "data" | "hole"): Bytes | undefined {
    const passed = this.#bordersUpTo(at);
    // An odd count of borders at or before `at` means that a data range has begun and not ended.
    const inData = passed % 2 === 1;
    if (inData === (whence === "data")) return at;
    // Borders were made from `Bytes`. Without a next one, `at` lies in the last hole and data was asked for.
    return this.#borders[passed] as Bytes | undefined;
  }

  /** `[at, at + length)` as alternating data and holes, in order. @throws RangeError when it passes the size */
  *pieces(at: Bytes, length: number): Generator<Extent, void, undefined> {
    const end = at + length;
    if (end > this.size) throw new RangeError(`Cannot split ${length} bytes at ${at}: the disk has ${this.size} bytes`);
    let border = this.#bordersUpTo(at);
    for (let start: number = at; start < end; border++) {
      const stop = Math.min(this.#borders[border] ?? this.size, end);
      yield { kind: border % 2 === 1 ? "data" : "hole", start: start as Bytes, length: (stop - start) as Bytes };
      start = stop;
    }
  }

  /** How many borders lie at or before `at`: binary search. */
  #bordersUpTo(at: number): number {
    let low = 0;
    let high = this.#borders.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((this.#borders[middle] ?? 0) <= at) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}

/** Collects ascending ranges in bounded memory: when full, the holes below a growing length become data. */
class RangeCollector {
  readonly borders: number[] = [];
  readonly #bordersMax: number;
  /** Holes shorter than this have been given up. */
  #holeBytesMin = 1;

  constructor(rangesMax: number) {
    if (!(rangesMax >= 1)) throw new RangeError(`Cannot keep ${rangesMax} data ranges: at least 1 is needed`);
    this.#bordersMax = rangesMax * 2;
  }

  add(start: number, end: number): void {
    const last = this.borders.length - 1;
    if (last >= 0 && start - (this.borders[last] ?? 0) < this.#holeBytesMin) {
      this.borders[last] = end;
      return;
    }
    this.borders.push(start, end);
    while (this.borders.length > this.#bordersMax) this.#giveUpShorterHoles();
  }

  #giveUpShorterHoles(): void {
    this.#holeBytesMin *= 2;
    let kept = 2;
    for (let i = 2; i < this.borders.length; i += 2) {
      const start = this.borders[i] ?? 0;
      const end = this.borders[i + 1] ?? 0;
      if (start - (this.borders[kept - 1] ?? 0) < this.#holeBytesMin) {
        this.borders[kept - 1] = end;
      } else {
        this.borders[kept] = start;
        this.borders[kept + 1] = end;
        kept += 2;
      }
    }
    this.borders.length = kept;
  }
}
