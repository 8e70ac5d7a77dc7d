import type { BlockSource, ReadOptions } from "../block-source.js";
import { bytes, type Bytes } from "../units.js";
import type { DatastoreClient, DatastoreFile } from "./datastore-client.js";

/** A stretch of the disk: a range of a flat file, or zeros. */
export interface FlatSegment {
  /** Where it begins on the disk. */
  readonly start: Bytes;
  readonly length: Bytes;
  readonly data: { readonly file: DatastoreFile; readonly size: Bytes; readonly offset: Bytes } | undefined;
}

/** The flat extents of one disk, one after the other, read by range requests. */
export class FlatSource implements BlockSource {
  readonly size: Bytes;
  readonly #segments: readonly FlatSegment[];
  readonly #client: DatastoreClient;

  /** @param segments in disk order and without gaps */
  constructor(segments: readonly FlatSegment[], client: DatastoreClient) {
    this.#segments = segments;
    this.#client = client;
    this.size = bytes(segments.reduce((sum, segment) => sum + segment.length, 0));
  }

  async read(into: Uint8Array, at: Bytes, { signal }: ReadOptions): Promise<void> {
    signal.throwIfAborted();
    if (at + into.length > this.size) {
      throw new RangeError(`Cannot read ${into.length} bytes at ${at}: the disk has ${this.size} bytes`);
    }
    const end = at + into.length;
    const touched = this.#segments.filter(({ start, length }) => start < end && start + length > at);
    const pieces = await Promise.allSettled(
      touched.map(async ({ start, length, data }) => {
        const from = Math.max(at, start);
        const piece = into.subarray(from - at, Math.min(end, start + length) - at);
        if (data === undefined) piece.fill(0);
        else await this.#client.readRange(data.file, data.size, piece, bytes(data.offset + from - start), signal);
      }),
    );
    // All have ended before the first failure is reported: nothing writes into a buffer that the caller has back.
    const failed = pieces.find((piece) => piece.status === "rejected");
    if (failed !== undefined) throw failed.reason;
  }

  /** The connections belong to the hypervisor. */
  async [Symbol.asyncDispose](): Promise<void> {}
}
