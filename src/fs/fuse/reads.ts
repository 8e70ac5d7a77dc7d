import { CancelledError, errorChain } from "../../errors.js";
import type { Logger } from "../../log.js";
import { bytes, type Bytes } from "../../units.js";
import { BufferPool } from "./buffer-pool.js";
import { isDying as readerIsDying } from "./dying-reader.js";
import { FailedBlocks } from "./failed-blocks.js";
import { READ_BYTES_MAX } from "./init.js";
import type { FileHandle, OpenFiles } from "./open-files.js";
import type { Replies } from "./replies.js";

/** A signal that does not kill is looked at again: one that does may follow, and the kernel says "interrupt" once. */
const DYING_POLL_MS = 250;

/** Who asked: the request's number and the thread that waits for it. */
export interface Caller {
  readonly unique: bigint;
  readonly pid: number;
}

export interface ReadsOptions {
  /**
   * Memory for answers. Further READs wait in line, a few hundred bytes each; their number is bounded by the threads that
   * read from the mount, because each of them waits for its answer.
   */
  readonly bytesMax: Bytes;
  readonly failed?: FailedBlocks;
  /** Whether a thread is about to die; replaced where there are no processes. */
  readonly isDying?: (pid: number) => Promise<boolean>;
}

interface Read {
  readonly unique: bigint;
  /** The thread that reads; 0 when it is not known. */
  readonly pid: number;
  readonly handle: FileHandle;
  readonly at: number;
  readonly length: number;
  readonly controller: AbortController;
  /** The caller has its answer, or there is nobody to answer. */
  answered: boolean;
  watcher: NodeJS.Timeout | undefined;
}

/**
 * Serves READ: every answer is exactly as long as the file has bytes for, or an error. A short answer would make the
 * kernel believe that the file ends there, and the backup would hold a clean, truncated image.
 */
export class Reads {
  readonly #replies: Replies;
  readonly #files: OpenFiles;
  readonly #logger: Logger;
  readonly #pool: BufferPool;
  readonly #failed: FailedBlocks;
  readonly #active = new Map<bigint, Read>();
  readonly #waiting: Read[] = [];
  bytesServed = 0;
  errors = 0;

  readonly #isDying: (pid: number) => Promise<boolean>;

  constructor(
    replies: Replies,
    files: OpenFiles,
    logger: Logger,
    { bytesMax, failed = new FailedBlocks(), isDying = readerIsDying }: ReadsOptions,
  ) {
    this.#pool = new BufferPool(bytesMax);
    this.#replies = replies;
    this.#files = files;
    this.#logger = logger;
    this.#failed = failed;
    this.#isDying = isDying;
  }

  get inFlight(): number {
    return this.#active.size;
  }

  /** Answers sooner or later; `size` is what was asked for, the file's end not considered. */
  serve({ unique, pid }: Caller, handle: FileHandle, at: number, size: number): void {
    const length = Math.max(0, Math.min(size, handle.size - at));
    if (length === 0) {
      this.#replies.body(unique, new Uint8Array(0));
    } else if (length > READ_BYTES_MAX || this.#failed.has(handle.inode, at, length)) {
      this.errors++;
      this.#replies.error(unique, "EIO");
    } else {
      const read: Read = {
        unique,
        pid,
        handle,
        at,
        length,
        controller: new AbortController(),
        answered: false,
        watcher: undefined,
      };
      this.#files.readStarted(handle);
      this.#active.set(unique, read);
      this.#waiting.push(read);
      this.#startWaiting();
    }
  }

  /**
   * A signal hit the reader. Only one that is dying gets EINTR, to be free at once. A reader that lives waits, as it does
   * on a disk: POSIX programs do not expect EINTR from a regular file, and some take it for damage.
   * @returns whether `unique` is a READ in service
   */
  interrupt(unique: bigint): boolean {
    const read = this.#active.get(unique);
    if (read === undefined || read.answered) return false;
    if (read.watcher === undefined) void this.#freeIfDying(read);
    return true;
  }

  async #freeIfDying(read: Read): Promise<void> {
    const dying = await this.#isDying(read.pid);
    if (read.answered || !this.#active.has(read.unique)) return;
    if (dying) {
      read.answered = true;
      this.#replies.error(read.unique, "EINTR");
      read.controller.abort(new CancelledError("Reading was interrupted by a signal to the reader", { signal: 0 }));
      return;
    }
    read.watcher = setTimeout(() => void this.#freeIfDying(read), DYING_POLL_MS).unref();
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
      const buffer = this.#pool.take(read.length);
      if (buffer === undefined) return;
      this.#waiting.shift();
      void this.#run(read, buffer);
    }
  }

  /** Never rejects. */
  async #run(read: Read, buffer: Uint8Array): Promise<void> {
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
      this.#pool.drop(buffer);
      this.#fail(read, error);
    } finally {
      clearTimeout(read.watcher);
      this.#active.delete(read.unique);
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
