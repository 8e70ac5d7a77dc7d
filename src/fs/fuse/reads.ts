import { CancelledError, errorChain } from "../../errors.js";
import type { Logger } from "../../log.js";
import { bytes, MIB } from "../../units.js";
import { BufferPool } from "./buffer-pool.js";
import { FailedBlocks } from "./failed-blocks.js";
import { READ_BYTES_MAX } from "./init.js";
import type { FileHandle, OpenFiles } from "./open-files.js";
import type { Replies } from "./replies.js";

/**
 * Bytes of READs in service at once, and so of buffers: as many as the kernel's own limit on read-ahead lets through
 * (64 requests of 1 MiB). Further READs wait in line, a few hundred bytes each; their number is bounded by the threads
 * that read from the mount, because each of them waits for its answer.
 */
const IN_SERVICE_BYTES_MAX = 64 * MIB;

interface Read {
  readonly unique: bigint;
  readonly handle: FileHandle;
  readonly at: number;
  readonly length: number;
  readonly controller: AbortController;
  /** The caller was interrupted and has its answer. */
  answered: boolean;
}

/**
 * Serves READ: every answer is exactly as long as the file has bytes for, or an error. A short answer would make the
 * kernel believe that the file ends there, and the backup would hold a clean, truncated image.
 */
export class Reads {
  readonly #replies: Replies;
  readonly #files: OpenFiles;
  readonly #logger: Logger;
  readonly #pool = new BufferPool();
  readonly #failed: FailedBlocks;
  readonly #active = new Map<bigint, Read>();
  readonly #waiting: Read[] = [];
  #bytesInService = 0;
  bytesServed = 0;
  errors = 0;

  constructor(replies: Replies, files: OpenFiles, logger: Logger, failed = new FailedBlocks()) {
    this.#replies = replies;
    this.#files = files;
    this.#logger = logger;
    this.#failed = failed;
  }

  /** Answers sooner or later; `size` is what was asked for, the file's end not considered. */
  serve(unique: bigint, handle: FileHandle, at: number, size: number): void {
    const length = Math.max(0, Math.min(size, handle.size - at));
    if (length === 0) {
      this.#replies.body(unique, new Uint8Array(0));
    } else if (length > READ_BYTES_MAX || this.#failed.has(handle.inode, at, length)) {
      this.errors++;
      this.#replies.error(unique, "EIO");
    } else {
      const read: Read = { unique, handle, at, length, controller: new AbortController(), answered: false };
      this.#files.readStarted(handle);
      this.#active.set(unique, read);
      this.#waiting.push(read);
      this.#startWaiting();
    }
  }

  /** @returns whether `unique` was a READ in service, which is now answered */
  interrupt(unique: bigint): boolean {
    const read = this.#active.get(unique);
    if (read === undefined || read.answered) return false;
    read.answered = true;
    this.#replies.error(unique, "EINTR");
    read.controller.abort(new CancelledError("Reading was interrupted by a signal to the reader", { signal: 0 }));
    return true;
  }

  /** The connection is gone: nobody waits for an answer. */
  abortAll(): void {
    const reason = new CancelledError("Reading was stopped: the mount is gone", { signal: 0 });
    for (const read of this.#active.values()) {
      read.answered = true;
      read.controller.abort(reason);
    }
  }

  #startWaiting(): void {
    for (let read = this.#waiting[0]; read !== undefined; read = this.#waiting[0]) {
      if (this.#bytesInService > 0 && this.#bytesInService + read.length > IN_SERVICE_BYTES_MAX) return;
      this.#waiting.shift();
      this.#bytesInService += read.length;
      void this.#run(read);
    }
  }

  /** Never rejects. */
  async #run(read: Read): Promise<void> {
    const buffer = this.#pool.take(read.length);
    const data = buffer.subarray(0, read.length);
    try {
      read.controller.signal.throwIfAborted();
      await read.handle.file.read(data, bytes(read.at), { signal: read.controller.signal });
      if (!read.answered) {
        read.answered = true;
        await this.#replies.data(read.unique, data);
        this.bytesServed += read.length;
      }
      this.#pool.give(buffer);
    } catch (error) {
      this.#fail(read, error);
    } finally {
      this.#active.delete(read.unique);
      this.#bytesInService -= read.length;
      this.#files.readEnded(read.handle);
      this.#startWaiting();
    }
  }

  /** Data errors are EIO whatever their cause: readers repeat EINTR and EAGAIN for ever, and skip files on others. */
  #fail(read: Read, error: unknown): void {
    if (read.answered) return;
    read.answered = true;
    this.errors++;
    this.#failed.add(read.handle.inode, read.at, read.length);
    this.#replies.error(read.unique, "EIO");
    const fields = { inode: read.handle.inode, at: read.at, length: read.length, reason: errorChain(error) };
    this.#logger.error("Cannot read from an image", fields);
  }
}
