import { IntegrityError } from "../errors.js";

/** Servers send a read from its start to its end, or in parts of their own blocks; one that tears it to shreds is not served. */
const PARTS_MAX = 1024;

/** Which bytes of one read have come: each once, in any order. */
export class Coverage {
  /** Sorted, apart from each other. */
  readonly #parts: { from: number; end: number }[] = [];

  /** @throws IntegrityError for bytes that have come before, and for too many parts with nothing between them yet */
  add(from: number, length: number): void {
    const end = from + length;
    // Mostly the place is at the end.
    const later = this.#parts.findLastIndex((part) => part.from <= from) + 1;
    const [before, after] = [this.#parts[later - 1], this.#parts[later]];
    if ((before?.end ?? 0) > from || (after?.from ?? Infinity) < end) {
      throw new IntegrityError(`it sends some of the ${length} bytes from ${from} of a read twice`);
    }
    const next = after?.from === end ? after : undefined;
    if (before?.end === from) {
      before.end = next?.end ?? end;
      if (next !== undefined) this.#parts.splice(later, 1);
    } else if (next !== undefined) {
      next.from = from;
    } else {
      if (this.#parts.length >= PARTS_MAX) throw new IntegrityError(`it sends a read in more than ${PARTS_MAX} parts`);
      this.#parts.splice(later, 0, { from, end });
    }
  }

  get bytes(): number {
    return this.#parts.reduce((sum, { from, end }) => sum + end - from, 0);
  }
}
