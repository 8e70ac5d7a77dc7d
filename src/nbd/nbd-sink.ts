import { setMaxListeners } from "node:events";
import { AuthError, DiskIoError, MissingCapabilityError, UnreachableError, VmmountError } from "../errors.js";
import type { Bytes } from "../units.js";
import { type NbdTarget, shownTarget } from "./address.js";
import { type ConnectionOptions, NbdConnection } from "./connection.js";

/** Of one request for zeros: a server that writes them one by one answers long before it seems to hang. */
const ZEROES_BYTES_MAX = 64 * 1024 * 1024;

const LOST_HINT = "Open the disk again, and write again what was written since the last flush";

/** Of requests: they are never given up one by one. */
const NEVER = new AbortController().signal;
// Each request listens; many are no leak.
setMaxListeners(0, NEVER);

/**
 * A disk behind an NBD server, to be written. It has one connection and ends with it: what was written since the last flush may then
 * be lost, and every further call says so. Several requests may run at once, not over the same bytes.
 */
export class NbdSink implements AsyncDisposable {
  readonly size: Bytes;
  /** Writes begin and end at multiples of this. */
  readonly blockBytes: number;
  readonly #connection: NbdConnection;
  readonly #shown: string;
  readonly #signal: AbortSignal;
  readonly #onAbort: () => void;

  private constructor(connection: NbdConnection, shown: string, signal: AbortSignal) {
    this.#connection = connection;
    this.#shown = shown;
    this.size = connection.agreed.size;
    this.blockBytes = connection.agreed.blockBytesMin;
    this.#signal = signal;
    this.#onAbort = () => {
      // What was handed to the socket could not be taken back in any other way.
      connection.cut(new UnreachableError("the writer gave up", { cause: signal.reason, retryable: false }));
    };
    signal.addEventListener("abort", this.#onAbort, { once: true });
    if (signal.aborted) this.#onAbort();
  }

  /**
   * @param signal of the whole sink: it is cut off when that aborts
   * @throws AuthError for an export that is read-only, and the errors of NbdConnection
   */
  static async open(target: NbdTarget, options: ConnectionOptions, signal: AbortSignal): Promise<NbdSink> {
    const connection = await NbdConnection.open(target, options, signal);
    if (!connection.agreed.isReadOnly) return new NbdSink(connection, shownTarget(target), signal);
    await connection[Symbol.asyncDispose]();
    throw new AuthError(`Cannot write to ${shownTarget(target)}: it is read-only`);
  }

  /**
   * Writes all of `data`, which stays as it is until the promise settles.
   * @param options.fua it is on stable storage then
   * @throws VmmountError: some of it may be written; RangeError
   */
  async write(data: Uint8Array, at: Bytes, { fua = false } = {}): Promise<void> {
    this.#checkRange(at, data.length);
    const { payloadBytesMax, takesFua } = this.#connection.agreed;
    for (let from = 0; from < data.length; from += payloadBytesMax) {
      const piece = data.subarray(from, from + payloadBytesMax);
      await this.#ask(({ requests }) => requests.write(piece, at + from, { fua: fua && takesFua, signal: NEVER }));
    }
    if (fua && !takesFua) await this.flush();
  }

  /**
   * Makes a range read as zeros.
   * @throws VmmountError: some of it may be written; RangeError
   */
  async writeZeroes(at: Bytes, length: number): Promise<void> {
    this.#checkRange(at, length);
    const { payloadBytesMax, takesZeroes } = this.#connection.agreed;
    const step = takesZeroes ? ZEROES_BYTES_MAX : Math.min(payloadBytesMax, ZEROES_BYTES_MAX);
    const zeroes = new Uint8Array(takesZeroes ? 0 : Math.min(step, length));
    const options = { fua: false, signal: NEVER };
    for (let from = 0; from < length; from += step) {
      const count = Math.min(step, length - from);
      await this.#ask(({ requests }) =>
        takesZeroes
          ? requests.writeZeroes(at + from, count, options)
          : requests.write(zeroes.subarray(0, count), at + from, options),
      );
    }
  }

  /** What was written before is on stable storage when it resolves. @throws VmmountError */
  async flush(): Promise<void> {
    if (!this.#connection.agreed.takesFlush) {
      throw new MissingCapabilityError(`Cannot flush ${this.#shown}: the server has no way to`);
    }
    await this.#ask(({ requests }) => requests.flush(NEVER));
  }

  /** Flushes nothing. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#signal.removeEventListener("abort", this.#onAbort);
    await this.#connection[Symbol.asyncDispose]();
  }

  #checkRange(at: number, length: number): void {
    const end = at + length;
    const isWhole = at % this.blockBytes === 0 && length % this.blockBytes === 0;
    if (Number.isSafeInteger(at) && at >= 0 && end <= this.size && isWhole) return;
    throw new RangeError(
      `Cannot write ${length} bytes at ${at}: the disk has ${this.size} bytes in blocks of ${this.blockBytes}`,
    );
  }

  async #ask(request: (connection: NbdConnection) => Promise<void>): Promise<void> {
    const { requests } = this.#connection;
    try {
      await request(this.#connection);
    } catch (error) {
      this.#signal.throwIfAborted();
      if (!(error instanceof VmmountError)) throw error;
      throw new DiskIoError(`${this.#shown}: ${error.message}`, {
        cause: error,
        exit: error.exit,
        retryable: error.retryable && !requests.hasFailed,
        hint: requests.hasFailed ? LOST_HINT : error.hint,
      });
    }
  }
}
