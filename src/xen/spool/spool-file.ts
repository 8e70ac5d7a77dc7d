import { randomBytes } from "node:crypto";
import { constants, type FileHandle, mkdir, open, statfs, unlink } from "node:fs/promises";
import { join } from "node:path";
import type { BlockSource, Extent, ReadOptions } from "../../block-source.js";
import { ConfigError, DiskIoError, VmmountError } from "../../errors.js";
import { bytes, type Bytes, KIB, MIB } from "../../units.js";

/** What is all zeros in a unit of this size stays a hole: the size of most file systems' largest blocks. */
const UNIT_BYTES = 64 * KIB;
/** A spool of this size has a map of 128 MiB when it is full of data; no hypervisor has larger disks. */
export const SPOOL_BYTES_MAX = 64 * 1024 * 1024 * MIB;
/** Left to others on the file system. */
const RESERVE_BYTES = 64 * MIB;

/**
 * A file of ours that has no name: its room is free again when it is closed, however this process ends. Written once from
 * its start to its end, then read anywhere. Zeros take no room.
 */
export class SpoolFile implements AsyncDisposable {
  readonly #file: FileHandle;
  readonly #directory: string;
  /** One bit for each unit that holds data. */
  #units = Buffer.alloc(0);
  #size = 0;
  #closing: Promise<void> | undefined;

  private constructor(file: FileHandle, directory: string) {
    this.#file = file;
    this.#directory = directory;
  }

  /**
   * @param directory absolute; made with mode 0700 when it is not there
   * @param neededBytes what will be written at most, as far as it is known: less room is an error now and not in hours
   * @throws ConfigError for a directory that cannot be used; VmmountError "space"
   */
  static async create(directory: string, neededBytes = 0): Promise<SpoolFile> {
    try {
      if ((await roomIn(directory)) < neededBytes) throw full(directory, neededBytes);
      const path = join(directory, `spool-${randomBytes(8).toString("hex")}`);
      const file = await open(
        path,
        constants.O_CREAT | constants.O_EXCL | constants.O_RDWR | constants.O_NOFOLLOW,
        0o600,
      );
      await unlink(path);
      return new SpoolFile(file, directory);
    } catch (cause) {
      throw cause instanceof VmmountError ? cause : unusable(directory, cause);
    }
  }

  get size(): Bytes {
    return bytes(this.#size);
  }

  /** Adds to the end. @throws VmmountError "space", DiskIoError */
  async append(chunk: Uint8Array): Promise<void> {
    if (this.#size + chunk.length > SPOOL_BYTES_MAX) throw full(this.#directory, this.#size + chunk.length);
    for (let done = 0; done < chunk.length;) {
      const at = this.#size + done;
      const unit = Math.floor(at / UNIT_BYTES);
      const part = chunk.subarray(done, done + Math.min((unit + 1) * UNIT_BYTES - at, chunk.length - done));
      if (!isZero(part)) await this.#write(part, at, unit);
      done += part.length;
    }
    this.#size += chunk.length;
  }

  /** Once everything is written: a hole at the end belongs to the file too. */
  async finish(): Promise<void> {
    await this.#file.truncate(this.#size);
  }

  /** A range of what was written. Disposing it leaves the file open. */
  part(offset: Bytes, length: Bytes): BlockSource {
    const file = this.#file;
    return {
      size: length,
      read: async (into, at, options) => {
        if (at + into.length > length) {
          throw new RangeError(`Cannot read ${into.length} bytes at ${at}: there are ${length}`);
        }
        await this.#read(into, offset + at, options);
      },
      extents: (from, count, { signal }) => this.#extents(offset, { from, count, signal }),
      localFile: () => ({ fd: file.fd, offset }),
      [Symbol.asyncDispose]: () => Promise.resolve(),
    };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#closing ??= this.#file.close();
    await this.#closing;
  }

  async #write(part: Uint8Array, at: number, unit: number): Promise<void> {
    try {
      for (let done = 0; done < part.length;) {
        done += (await this.#file.write(part, done, part.length - done, at + done)).bytesWritten;
      }
    } catch (cause) {
      const { code } = cause as NodeJS.ErrnoException;
      if (code === "ENOSPC" || code === "EDQUOT" || code === "EFBIG") throw full(this.#directory, this.#size, cause);
      throw new DiskIoError(`Cannot write into "${this.#directory}": ${(cause as Error).message}`, { cause });
    }
    const byte = unit >> 3;
    if (byte >= this.#units.length) this.#units = Buffer.concat([this.#units], Math.max(1024, byte * 2));
    this.#units[byte] = (this.#units[byte] ?? 0) | (1 << (unit & 7));
  }

  async #read(into: Uint8Array, at: number, { signal }: ReadOptions): Promise<void> {
    for (let done = 0; done < into.length;) {
      signal.throwIfAborted();
      let bytesRead: number;
      try {
        ({ bytesRead } = await this.#file.read(into, done, into.length - done, at + done));
      } catch (cause) {
        throw new DiskIoError(`Cannot read back from "${this.#directory}": ${(cause as Error).message}`, { cause });
      }
      if (bytesRead === 0) throw new DiskIoError(`Cannot read back from "${this.#directory}": the file was cut off`);
      done += bytesRead;
    }
  }

  // eslint-disable-next-line @typescript-eslint/require-await -- the seam is asynchronous, the map is in memory
  async *#extents(
    offset: number,
    { from, count, signal }: { from: number; count: number; signal: AbortSignal },
  ): AsyncGenerator<Extent, void, undefined> {
    const end = from + count;
    for (let at = from; at < end;) {
      signal.throwIfAborted();
      const kind = this.#kindAt(offset + at);
      let stop = at;
      do stop = (Math.floor((offset + stop) / UNIT_BYTES) + 1) * UNIT_BYTES - offset;
      while (stop < end && this.#kindAt(offset + stop) === kind);
      const next = Math.min(stop, end);
      yield { kind, start: bytes(at), length: bytes(next - at) };
      at = next;
    }
  }

  #kindAt(at: number): Extent["kind"] {
    const unit = Math.floor(at / UNIT_BYTES);
    return ((this.#units[unit >> 3] ?? 0) & (1 << (unit & 7))) === 0 ? "hole" : "data";
  }
}

/**
 * Bytes that spools may take in a directory, which is made with mode 0700 when it is not there.
 * @throws ConfigError for one that cannot be used
 */
export async function roomIn(directory: string): Promise<number> {
  try {
    await mkdir(directory, { recursive: true, mode: 0o700 });
    const { bavail, bsize } = await statfs(directory);
    return Math.max(0, bavail * bsize - RESERVE_BYTES);
  } catch (cause) {
    throw unusable(directory, cause);
  }
}

function unusable(directory: string, cause: unknown): ConfigError {
  return new ConfigError(`Cannot keep data in "${directory}": ${(cause as Error).message}`, {
    cause,
    hint: "Set cache.dir to a directory of yours with room for all disks of the largest VM",
  });
}

function isZero(part: Uint8Array): boolean {
  return part[0] === 0 && Buffer.compare(part.subarray(1), part.subarray(0, -1)) === 0;
}

function full(directory: string, neededBytes: number, cause?: unknown): VmmountError {
  const needed = neededBytes === 0 ? "" : ` for ${neededBytes} bytes`;
  return new VmmountError(`Cannot keep data in "${directory}": there is no room${needed}`, "space", {
    cause,
    hint: "Make room there, or set cache.dir to a directory on a larger disk",
  });
}
