import { CancelledError, errorChain } from "../../errors.js";
import type { Logger } from "../../log.js";
import { bytes, type Bytes } from "../../units.js";
import { errnoNumber } from "../errno.js";
import { BufferPool } from "../fuse/buffer-pool.js";
import { FailedBlocks } from "../fuse/failed-blocks.js";
import type { FileHandle, OpenFiles } from "../fuse/open-files.js";

/**
 * Serves READ: every answer is exactly as long as the file has bytes for, or -EIO. A short answer would make the kernel
 * believe that the file ends there. How many run at once is limited by libfuse's callers: one thread waits for each.
 */
export class NativeReads {
  readonly #files: OpenFiles;
  readonly #logger: Logger;
  readonly #pool: BufferPool;
  /** Reads without a buffer yet, first come, first served: as many as threads of libfuse wait for an answer. */
  readonly #waiting: (() => void)[] = [];
  readonly #failed = new FailedBlocks();
  readonly #active = new Set<AbortController>();
  #isAborted = false;
  bytesServed = 0;
  errors = 0;

  /** @param bytesMax for the buffers of reads under way together; further reads wait for one */
  constructor(files: OpenFiles, logger: Logger, bytesMax: Bytes) {
    this.#pool = new BufferPool(bytesMax);
    this.#files = files;
    this.#logger = logger;
  }

  get inFlight(): number {
    return this.#active.size;
  }

  /**
   * Fills the start of `into`, which libfuse owns and takes back with the answer.
   * @returns the bytes read, or a negative errno; never rejects
   */
  async serve(handle: FileHandle, into: Uint8Array, at: number): Promise<number> {
    const length = Math.max(0, Math.min(into.length, handle.size - at));
    if (length === 0) return 0;
    if (this.#isAborted || this.#failed.has(handle.inode, at, length)) return this.#error();
    const controller = new AbortController();
    this.#active.add(controller);
    this.#files.readStarted(handle);
    try {
      await this.#read(handle, into.subarray(0, length), at, controller.signal);
      this.bytesServed += length;
      return length;
    } catch (error) {
      this.#failed.add(handle.inode, at, length);
      const fields = { inode: handle.inode, at, length, reason: errorChain(error) };
      this.#logger.error("Cannot read from an image", fields);
      return this.#error();
    } finally {
      this.#active.delete(controller);
      this.#files.readEnded(handle);
    }
  }

  /** Through a buffer of our own: `into` is libfuse's again after a failure, which a read's other half may outlive. */
  async #read(handle: FileHandle, into: Uint8Array, at: number, signal: AbortSignal): Promise<void> {
    const buffer = await this.#buffer(into.length);
    let isDone = false;
    try {
      signal.throwIfAborted();
      const data = buffer.subarray(0, into.length);
      await handle.file.read(data, bytes(at), { signal });
      into.set(data);
      isDone = true;
    } finally {
      if (isDone) this.#pool.give(buffer);
      else this.#pool.drop(buffer);
      this.#waiting.shift()?.();
    }
  }

  async #buffer(length: number): Promise<Uint8Array> {
    let isTurn = this.#waiting.length === 0;
    for (;;) {
      const buffer = isTurn ? this.#pool.take(length) : undefined;
      if (buffer !== undefined) return buffer;
      await new Promise<void>((resolve) => this.#waiting.push(resolve));
      isTurn = true;
    }
  }

  /** The mount is going away: reads in service are told to stop, later ones fail. */
  abortAll(): void {
    this.#isAborted = true;
    const reason = new CancelledError("Reading was stopped: the mount is gone", { signal: 0 });
    for (const controller of this.#active) controller.abort(reason);
  }

  /** Data errors are EIO whatever their cause: readers repeat EINTR and EAGAIN for ever, and skip files on others. */
  #error(): number {
    this.errors++;
    return -errnoNumber("EIO");
  }
}
