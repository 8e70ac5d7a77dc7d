import type { BlockSource, Extent, ReadOptions } from "../../block-source.js";
import { IntegrityError } from "../../errors.js";
import { printable } from "../../printable.js";
import { bytes, type Bytes } from "../../units.js";
import { type Checksum, checksum, type ChecksumKind, checksumOf } from "./checksum.js";
import { archiveBytes, readTarHeader, TAR_BLOCK_BYTES } from "./tar-header.js";

/** Chunks of one length, one behind the other on the disk and at equal distances in the archive. */
export interface ChunkRun {
  /** Of the first, on the disk. */
  readonly position: number;
  /** Of the first one's data, in the archive. */
  readonly at: number;
  readonly chunkBytes: number;
  /** From the data of one to those of the next; 0 while there is one. */
  stride: number;
  count: number;
}

/** One disk of a plain archive. What no chunk holds reads as zeros. */
export class StoredDisk implements BlockSource {
  readonly id: string;
  readonly size: Bytes;
  readonly #archive: BlockSource;
  readonly #runs: readonly ChunkRun[];

  /** @param runs in the order of the disk */
  constructor(archive: BlockSource, disk: { readonly id: string; readonly size: Bytes }, runs: readonly ChunkRun[]) {
    this.id = disk.id;
    this.size = disk.size;
    this.#archive = archive;
    this.#runs = runs;
  }

  async read(into: Uint8Array, at: Bytes, { signal }: ReadOptions): Promise<void> {
    signal.throwIfAborted();
    const reads: Promise<void>[] = [];
    for (const { from, length, archiveAt } of this.#pieces(at, into.length)) {
      const target = into.subarray(from - at, from - at + length);
      if (archiveAt === undefined) target.fill(0);
      else reads.push(this.#archive.read(target, bytes(archiveAt), { signal }));
    }
    const ended = await Promise.allSettled(reads);
    // All have ended before a failure is reported: nothing writes into a buffer that the caller has back.
    const failed = ended.find((one) => one.status === "rejected");
    if (failed !== undefined) throw failed.reason;
  }

  async *extents(from: Bytes, length: Bytes, { signal }: ReadOptions): AsyncGenerator<Extent, void, undefined> {
    signal.throwIfAborted();
    for (const piece of this.#pieces(from, length)) {
      yield {
        kind: piece.archiveAt === undefined ? "hole" : "data",
        start: bytes(piece.from),
        length: bytes(piece.length),
      };
    }
    await Promise.resolve();
  }

  /**
   * Reads all of it and compares each chunk with its hash.
   * @throws IntegrityError with the place of the first that differs
   */
  async check(signal: AbortSignal): Promise<void> {
    const kinds: Partial<Record<ChecksumKind, Checksum>> = {
      sha1: await checksum("sha1"),
      xxhash: await checksum("xxhash"),
    };
    for (const run of this.#runs) {
      const padded = archiveBytes(run.chunkBytes);
      // The data, the header of the hash, and its text.
      const content = new Uint8Array(padded + 2 * TAR_BLOCK_BYTES);
      for (let index = 0; index < run.count; index++) {
        await this.#archive.read(content, bytes(run.at + index * run.stride), { signal });
        const header = readTarHeader(content.subarray(padded));
        const stored = Buffer.from(content.subarray(padded + TAR_BLOCK_BYTES)).toString("latin1", 0, header?.size ?? 0);
        const kind = kinds[checksumOf(header?.name ?? "") ?? "sha1"];
        const computed = await kind?.of(content.subarray(0, run.chunkBytes));
        if (computed === stored) continue;
        throw new IntegrityError(
          `Disk "${printable(this.id)}" is damaged at ${run.position + index * run.chunkBytes}: ` +
            `its hash is ${computed ?? "none"}, and "${printable(stored)}" is written behind it`,
        );
      }
    }
  }

  /** The archive belongs to whoever opened it. */
  [Symbol.asyncDispose](): Promise<void> {
    return Promise.resolve();
  }

  /** Data within one chunk, or what is between two. */
  *#pieces(at: number, length: number): Generator<DiskPiece, void, undefined> {
    const end = at + length;
    if (!Number.isSafeInteger(at) || at < 0 || end > this.size) {
      throw new RangeError(`Cannot read ${length} bytes at ${at}: the disk has ${this.size} bytes`);
    }
    for (let from = at, index = this.#runAt(at); from < end;) {
      const run = this.#runs[index];
      if (run === undefined || from < run.position) {
        const stop = Math.min(end, run?.position ?? end);
        yield { from, length: stop - from, archiveAt: undefined };
        from = stop;
        continue;
      }
      const chunk = Math.floor((from - run.position) / run.chunkBytes);
      if (chunk >= run.count) {
        index++;
        continue;
      }
      const inChunk = from - run.position - chunk * run.chunkBytes;
      const stop = Math.min(end, from - inChunk + run.chunkBytes);
      yield { from, length: stop - from, archiveAt: run.at + chunk * run.stride + inChunk };
      from = stop;
    }
  }

  /** The last run that begins at or before `at`, or the first. */
  #runAt(at: number): number {
    let low = 0;
    for (let high = this.#runs.length; high - low > 1;) {
      const middle = (low + high) >>> 1;
      if ((this.#runs[middle]?.position ?? 0) <= at) low = middle;
      else high = middle;
    }
    return low;
  }
}

interface DiskPiece {
  readonly from: number;
  readonly length: number;
  /** Undefined where nothing was stored. */
  readonly archiveAt: number | undefined;
}
