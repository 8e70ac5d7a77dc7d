import { KIB } from "../../units.js";
import { READ_BYTES_MAX } from "./init.js";

/** Two sizes: what read-ahead asks for, and what small readers do. A buffer of its own for each size would not be reused. */
const SIZES = [128 * KIB, READ_BYTES_MAX] as const;

/** Idle buffers kept per size: 16 MiB of large ones; a burst beyond that goes back to the garbage collector. */
const IDLE_MAX = 16;

/**
 * Buffers for READ replies. Allocating a megabyte per request would cost more than filling it. A buffer may be given
 * back only when nobody can write into it any more; after a failed or interrupted read it is simply dropped.
 */
export class BufferPool {
  readonly #idle = SIZES.map((size) => ({ size, buffers: [] as Uint8Array[] }));

  /** At least `length` bytes, with the bytes of some earlier read in them. */
  take(length: number): Uint8Array {
    for (const { size, buffers } of this.#idle) {
      // Not from Node's shared pool: these live long and go to the kernel from other threads.
      if (length <= size) return buffers.pop() ?? Buffer.allocUnsafeSlow(size);
    }
    throw new RangeError(`Cannot provide a buffer of ${length} bytes: READs end at ${READ_BYTES_MAX}`);
  }

  give(buffer: Uint8Array): void {
    for (const { size, buffers } of this.#idle) {
      if (buffer.length === size && buffers.length < IDLE_MAX) buffers.push(buffer);
    }
  }
}
