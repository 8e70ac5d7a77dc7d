import { setMaxListeners } from "node:events";
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

export type PartialRead = (signal: AbortSignal) => Promise<void>;

/**
 * Runs the parts of one read at once; the first failure ends the others and is thrown when all have settled.
 * `Promise.all` would reject while parts still write into a buffer that the caller takes back on rejection.
 */
export async function readParts(parts: readonly PartialRead[], signal: AbortSignal): Promise<void> {
  const [first, second] = parts;
  if (first === undefined) return;
  if (second === undefined) {
    await first(signal);
    return;
  }
  signal.throwIfAborted();
  const ending = new AbortController();
  // Every part listens; Node takes more than 10 listeners for a leak.
  setMaxListeners(0, ending.signal);
  const onAbort = (): void => {
    ending.abort(signal.reason);
  };
  signal.addEventListener("abort", onAbort, { once: true });
  let failure: { readonly error: unknown } | undefined;
  const settled = parts.map((part) =>
    part(ending.signal).catch((error: unknown) => {
      failure ??= { error };
      ending.abort(error);
    }),
  );
  await Promise.all(settled);
  signal.removeEventListener("abort", onAbort);
  if (failure !== undefined) throw failure.error;
}
