import { constants } from "node:fs";
import { type FileHandle, open } from "node:fs/promises";
import { basename } from "node:path";
import type { BlockSource, Extent, ReadOptions } from "../block-source.js";
import { DiskIoError, IntegrityError } from "../errors.js";
import { readCached, SystemCallError } from "../libc.js";
import { bytes, type Bytes } from "../units.js";
import { fileExtents } from "./file-extents.js";
import { closeAll, type FlatFiles, type FlatSegment } from "./flat-files.js";
import type { OpenedFile } from "./root.js";

/** A flat disk in files of this host. Zeros that no file holds are filled in. */
export class FileSource implements BlockSource {
  readonly size: Bytes;
  /** Absent when holes were not asked for. */
  readonly extents?: (from: Bytes, length: Bytes, options: ReadOptions) => AsyncIterable<Extent>;
  readonly #flat: FlatFiles;
  #closing: Promise<void> | undefined;

  /** Takes over the files. */
  constructor(flat: FlatFiles, holes: "asked of the file system" | "not asked for") {
    this.#flat = flat;
    this.size = bytes(flat.segments.reduce((sum, { length }) => sum + length, 0));
    if (holes === "asked of the file system") {
      this.extents = (from, length, options) => fileExtents(flat.segments, from, length, options.signal);
    }
  }

  async read(into: Uint8Array, at: Bytes, { signal }: ReadOptions): Promise<void> {
    signal.throwIfAborted();
    const end = at + into.length;
    if (!Number.isSafeInteger(at) || at < 0 || end > this.size) {
      throw new RangeError(`Cannot read ${into.length} bytes at ${at}: the disk has ${this.size} bytes`);
    }
    const touched = this.#flat.segments.filter(({ start, length }) => start < end && start + length > at);
    const pieces = await Promise.allSettled(
      touched.map(async (segment) => {
        const from = Math.max(at, segment.start);
        const piece = into.subarray(from - at, Math.min(end, segment.start + segment.length) - at);
        await readSegment(segment, piece, from - segment.start, signal);
      }),
    );
    // All have ended before the first failure is reported: nothing writes into a buffer that the caller has back.
    const failed = pieces.find((piece) => piece.status === "rejected");
    if (failed !== undefined) throw failed.reason;
  }

  localFile(): { readonly fd: number; readonly offset: Bytes } | undefined {
    const [segment, ...others] = this.#flat.segments;
    const [file] = this.#flat.files;
    if (segment?.data === undefined || file === undefined || others.length > 0) return undefined;
    // A longer file would show what lies behind the disk.
    if (segment.data.offset !== 0 || file.stats.size !== this.size) return undefined;
    return { fd: segment.data.handle.fd, offset: segment.data.offset };
  }

  /** See OpenedDisk. A file that was put in the place of ours is another one: we still read the old. */
  async writtenSince({ signal }: ReadOptions): Promise<string | undefined> {
    for (const file of this.#flat.files) {
      signal.throwIfAborted();
      if (await wasWritten(file)) return `"${basename(file.path)}" was written`;
    }
    return undefined;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#closing ??= closeAll(this.#flat.files);
    await this.#closing;
  }
}

async function readSegment({ data }: FlatSegment, into: Uint8Array, from: number, signal: AbortSignal): Promise<void> {
  if (data === undefined) {
    into.fill(0);
    return;
  }
  for (let done = 0; done < into.length;) {
    signal.throwIfAborted();
    const at = data.offset + from + done;
    const bytesRead = await readOnce(data, into.subarray(done), at);
    // Zeros would be a backup that looks whole.
    if (bytesRead === 0) {
      throw new IntegrityError(`Cannot read ${into.length - done} bytes at ${at} of "${data.path}": it was cut off`);
    }
    done += bytesRead;
  }
}

async function readOnce(data: NonNullable<FlatSegment["data"]>, into: Uint8Array, at: number): Promise<number> {
  try {
    const cached = readFromCache(data, into, at);
    if (cached !== undefined) return cached;
    return (await data.handle.read(into, 0, into.length, at)).bytesRead;
  } catch (error) {
    throw new DiskIoError(`Cannot read ${into.length} bytes at ${at} of "${data.path}": ${(error as Error).message}`, {
      cause: error,
      // A stale or slow NFS server may come back; an error of the disk is tried again as well, a few times.
      retryable: (error as NodeJS.ErrnoException).code !== "EBADF",
    });
  }
}

async function wasWritten({ handle, path, stats }: OpenedFile): Promise<boolean> {
  try {
    // NFS asks its server only when a file is opened (close-to-open consistency, nfs(5)).
    const again = await open(`/proc/self/fd/${handle.fd}`, constants.O_RDONLY | constants.O_NONBLOCK);
    const now = await again.stat().finally(() => again.close());
    return now.mtimeMs !== stats.mtimeMs || now.size !== stats.size;
  } catch (cause) {
    throw new DiskIoError(`Cannot see whether "${path}" was written: ${(cause as Error).message}`, { cause });
  }
}

/** Descriptors of file systems that cannot tell what is in the page cache. */
const cannotTell = new WeakSet<FileHandle>();

/** @returns undefined when a thread that may wait must read it */
function readFromCache({ handle }: NonNullable<FlatSegment["data"]>, into: Uint8Array, at: number): number | undefined {
  if (cannotTell.has(handle)) return undefined;
  try {
    return readCached(handle.fd, into, bytes(at));
  } catch (error) {
    if (!(error instanceof SystemCallError)) throw error;
    // Whatever it is: the read that may wait says it again, or succeeds.
    cannotTell.add(handle);
    return undefined;
  }
}
