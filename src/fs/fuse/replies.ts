import { writev, writevSync } from "node:fs";
import { encoded } from "../../binary.js";
import type { Logger } from "../../log.js";
import { errnoNumber, type Errno } from "../errno.js";
import { outHeader } from "./protocol.js";

/** Errno values of a reply that came too late, because the caller was killed or the mount is gone: nothing to do. */
const TOO_LATE = new Set(["ENOENT", "ENODEV", "ECONNABORTED", "EPERM"]);

/**
 * Replies of this size and more are written on a thread of the libuv pool: the kernel copies them during the call, and
 * the event loop can fetch the next bytes meanwhile. Below it the hop costs more than the copy.
 */
const BACKGROUND_BYTES_MIN = 256 * 1024;

/**
 * Writes replies to the device: header and data in one writev(2), so that data is copied once, by the kernel. After
 * `close` nothing is written any more: the descriptor's number may belong to another file by then.
 */
export class Replies {
  readonly #fd: number;
  readonly #logger: Logger;
  readonly #pending = new Set<Promise<void>>();
  #closed = false;

  constructor(fd: number, logger: Logger) {
    this.#fd = fd;
    this.#logger = logger;
  }

  /** A success with its answer, which is copied before this returns. */
  body(unique: bigint, body: Uint8Array): void {
    this.#write(unique, 0, body);
  }

  /** A failure: the header alone, or the kernel refuses the reply. */
  error(unique: bigint, errno: Errno): void {
    this.#write(unique, -errnoNumber(errno), undefined);
  }

  /** Like `body`, for much data: `data` must not change until the promise resolves, which it always does. */
  async data(unique: bigint, data: Uint8Array): Promise<void> {
    if (data.length < BACKGROUND_BYTES_MIN) {
      this.#write(unique, 0, data);
      return;
    }
    if (this.#closed) return;
    const header = encoded(outHeader, { len: outHeader.size + data.length, error: 0, unique });
    const written = new Promise<void>((resolve) => {
      writev(this.#fd, [header, data], (error) => {
        if (error !== null) this.#failed(unique, error);
        resolve();
      });
    });
    this.#pending.add(written);
    await written;
    this.#pending.delete(written);
  }

  /** Waits for the replies under way. */
  async settled(): Promise<void> {
    await Promise.all(this.#pending);
  }

  /** Lets no further reply start and waits for those under way. */
  async close(): Promise<void> {
    this.#closed = true;
    await this.settled();
  }

  #write(unique: bigint, error: number, body: Uint8Array | undefined): void {
    if (this.#closed) return;
    const header = encoded(outHeader, { len: outHeader.size + (body?.length ?? 0), error, unique });
    try {
      writevSync(this.#fd, body === undefined || body.length === 0 ? [header] : [header, body]);
    } catch (failure) {
      this.#failed(unique, failure as NodeJS.ErrnoException);
    }
  }

  /** The kernel has already ended a request whose reply it refuses, with EIO for the caller: no second try. */
  #failed(unique: bigint, error: NodeJS.ErrnoException): void {
    if (TOO_LATE.has(error.code ?? "")) return;
    this.#logger.error("Cannot answer a FUSE request", { unique: unique.toString(), reason: error.message });
  }
}
