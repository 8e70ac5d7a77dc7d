import type { Extent } from "../block-source.js";
import { IntegrityError } from "../errors.js";
import { bytes, type Bytes } from "../units.js";

export interface Spot {
  readonly at: number;
  readonly length: number;
}

/** A whole number by chance in one of `shares` equal parts of `total`. */
function randomIn(share: number, total: number, shares: number): number {
  return Math.min(total - 1, Math.floor(((share + Math.random()) * total) / shares));
}

/** The allocated areas of a disk, in order. */
export class AllocationMap {
  readonly #size: Bytes;
  readonly #areasMax: number;
  /** Start and end of each area; neighbours are merged. */
  readonly #starts: number[] = [];
  readonly #ends: number[] = [];
  #allocated = 0;

  constructor(size: Bytes, areasMax: number) {
    this.#size = size;
    this.#areasMax = areasMax;
  }

  get allocated(): number {
    return this.#allocated;
  }

  /** @throws IntegrityError for an area that is empty, out of order or outside its page */
  add(start: number, length: number, page: { readonly from: number; readonly to: number }): void {
    const end = start + length;
    const last = this.#ends.at(-1) ?? 0;
    if (length <= 0 || start < page.from || end > page.to || start < last) {
      throw new IntegrityError(`the area ${start} + ${length} is empty, out of order or outside the disk`);
    }
    const isNeighbour = start === last && this.#ends.length > 0;
    if (!isNeighbour && this.#starts.length >= this.#areasMax) {
      throw new IntegrityError(`the disk has more than ${this.#areasMax} separate areas`);
    }
    this.#allocated += length;
    if (isNeighbour) {
      this.#ends[this.#ends.length - 1] = end;
      return;
    }
    this.#starts.push(start);
    this.#ends.push(end);
  }

  /** All of the range lies in one hole. */
  isHole(at: number, length: number): boolean {
    const area = this.#firstEndingAfter(at);
    return at + length <= (this.#starts[area] ?? this.#size);
  }

  *extents(from: Bytes, length: Bytes): Generator<Extent> {
    const end = from + length;
    if (end > this.#size) throw new RangeError(`Cannot list extents up to ${end}: the disk has ${this.#size} bytes`);
    let at: number = from;
    for (let area = this.#firstEndingAfter(from); at < end; area++) {
      const start = Math.min(this.#starts[area] ?? end, end);
      if (start > at) yield { kind: "hole", start: bytes(at), length: bytes(start - at) };
      const stop = Math.min(this.#ends[area] ?? end, end);
      at = Math.max(at, start);
      if (stop > at) yield { kind: "data", start: bytes(at), length: bytes(stop - at) };
      at = stop;
    }
  }

  /** The part of the range that lies in the hole at `at`; undefined when there is data. */
  holePart(at: number, length: number): Spot | undefined {
    const end = Math.min(at + length, this.#starts[this.#firstEndingAfter(at)] ?? this.#size);
    return at >= 0 && end > at ? { at, length: end - at } : undefined;
  }

  /**
   * At most `count` places inside holes, in order: one by chance in each of `count` equal shares of all hole bytes.
   * Data that lies together and fills two shares or more is always hit.
   */
  randomHoleSpots(count: number, length: number): Spot[] {
    const total = this.#size - this.#allocated;
    const shares = Math.min(count, Math.ceil(total / length));
    const spots: Spot[] = [];
    let passed = 0;
    let offset = randomIn(0, total, shares);
    for (const [from, to] of this.#holes()) {
      while (spots.length < shares && offset < passed + to - from) {
        const at = Math.max(from, Math.min(from + offset - passed, to - length));
        spots.push({ at, length: Math.min(length, to - at) });
        offset = randomIn(spots.length, total, shares);
      }
      passed += to - from;
    }
    return spots;
  }

  /** The first and the last bytes of the largest holes. */
  largestHoleEnds(count: number, length: number): Spot[] {
    // Kept small: a map may have millions of holes.
    let largest: (readonly [from: number, to: number])[] = [];
    const keepLargest = (): void => {
      largest = largest.sort(([a, b], [c, d]) => d - c - (b - a)).slice(0, count);
    };
    for (const hole of this.#holes()) {
      largest.push(hole);
      if (largest.length >= 64 * count) keepLargest();
    }
    keepLargest();
    return largest.flatMap(([from, to]) => {
      const size = Math.min(length, to - from);
      return to - from <= length ? [{ at: from, length: size }] : [from, to - size].map((at) => ({ at, length: size }));
    });
  }

  *#holes(): Generator<readonly [from: number, to: number]> {
    let from = 0;
    for (let area = 0; area <= this.#starts.length; area++) {
      const to = this.#starts[area] ?? this.#size;
      if (to > from) yield [from, to];
      from = this.#ends[area] ?? this.#size;
    }
  }

  /** Binary search: index of the first area that ends after `at`. */
  #firstEndingAfter(at: number): number {
    let low = 0;
    let high = this.#ends.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((this.#ends[middle] ?? 0) > at) high = middle;
      else low = middle + 1;
    }
    return low;
  }
}
