import type { Bytes } from "./units.js";

export interface ReadOptions {
  readonly signal: AbortSignal;
}

/** A range that holds data, or a hole that reads as zeros. */
export interface Extent {
  readonly kind: "data" | "hole";
  readonly start: Bytes;
  readonly length: Bytes;
}

/**
 * Random-access bytes of one disk at one point in time. The bytes never change while the source is open.
 *
 * A filter is a function `BlockSource -> BlockSource` that owns the source below it: disposing the top disposes all.
 * test/fixtures/contract/block-source.ts is the suite every implementation passes.
 */
export interface BlockSource extends AsyncDisposable {
  readonly size: Bytes;

  /**
   * Fills all of `into` with the bytes from `at`, or throws: never short. `at + into.length` must not pass `size`
   * (RangeError). The caller owns `into` and does not touch it until the promise settles; after a rejection its
   * content is undefined. Several reads may run at once.
   * @throws VmmountError whose `retryable` says whether the same read may succeed later
   */
  read(into: Uint8Array, at: Bytes, options: ReadOptions): Promise<void>;

  /**
   * The allocated ranges of `[from, from + length)` in order, without gaps or overlaps, adjacent extents of one kind
   * merged or not. Absent when allocation is unknown: then everything counts as data.
   */
  extents?(from: Bytes, length: Bytes, options: ReadOptions): AsyncIterable<Extent>;

  /**
   * The same bytes for one reader, whose habits are learned apart from those of others. Disposing it ends the reader
   * only; it must not be used after the source. Absent where habits make no difference.
   */
  reader?(): BlockSource;

  /** These bytes are one range of a local file: the kernel may read them without us. */
  localFile?(): { readonly fd: number; readonly offset: Bytes } | undefined;
}
