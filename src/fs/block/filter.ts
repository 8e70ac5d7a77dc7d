import type { BlockSource } from "../../block-source.js";
import type { Bytes } from "../../units.js";

/**
 * A source that answers like `below` except where `own` says otherwise. What `below` cannot do stays absent, so that
 * asking for a capability gives the truth through any number of filters.
 */
export function filtered(below: BlockSource, own: Partial<BlockSource>): BlockSource {
  return {
    size: below.size,
    read: (into, at, options) => below.read(into, at, options),
    ...(below.extents === undefined ? {} : { extents: below.extents.bind(below) }),
    ...(below.localFile === undefined ? {} : { localFile: below.localFile.bind(below) }),
    [Symbol.asyncDispose]: () => Promise.resolve(below[Symbol.asyncDispose]()),
    ...own,
  };
}

/** @throws RangeError when `[at, at + length)` does not lie inside a source of `size` bytes */
export function checkRange(size: Bytes, at: number, length: number): void {
  if (!Number.isSafeInteger(at) || at < 0 || at + length > size) {
    throw new RangeError(`Cannot read ${length} bytes at ${at}: the source has ${size} bytes`);
  }
}

/**
 * Waits until every read has settled, then throws the first failure. `Promise.all` would reject while the other reads
 * still write into a buffer that the caller takes back on rejection.
 */
export async function settleAll(reads: readonly Promise<void>[]): Promise<void> {
  const results = await Promise.allSettled(reads);
  const failed = results.find((result) => result.status === "rejected");
  if (failed !== undefined) throw failed.reason;
}
