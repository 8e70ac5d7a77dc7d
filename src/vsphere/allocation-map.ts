import type { Extent } from "../block-source.js";
import { IntegrityError } from "../errors.js";
import { bytes, type Bytes } from "../units.js";

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

  /** Places inside holes, spread evenly over all hole bytes by chance. */
  randomHoleSpots(count: number, length: number): { readonly at: number; readonly length: number }[] {
    const holes = this.#size - this.#allocated;
    if (holes === 0) return [];
    return Array.from({ length: count }, () => Math.floor(Math.random() * holes))
      .sort((a, b) => a - b)
      .map((offset) => this.#holeSpot(offset, length));
  }

  /** The place of the `offset`-th hole byte, cut at the end of its hole. */
  #holeSpot(offset: number, length: number): { readonly at: number; readonly length: number } {
    let passed = 0;
    let from = 0;
    for (let area = 0; ; area++) {
      const to = this.#starts[area] ?? this.#size;
      const at = from + offset - passed;
      if (at < to || area >= this.#starts.length) return { at, length: Math.min(length, to - at) };
      passed += to - from;
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
