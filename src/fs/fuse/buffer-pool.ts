import { type Bytes, KIB } from "../../units.js";
import { READ_BYTES_MAX } from "./init.js";

/** Two sizes: what read-ahead asks for, and what small readers do. A buffer of its own for each size would not be reused. */
const SIZES = [128 * KIB, READ_BYTES_MAX] as const;

/**
 * Buffers for READ replies, never more than `bytesMax` of them together. Allocating a megabyte per request would cost more
 * than filling it, so buffers that come back are kept. Every buffer must come back, by `give` or by `drop`.
 */
export class BufferPool {
  readonly #bytesMax: number;
  readonly #idle = SIZES.map((size) => ({ size, buffers: [] as Uint8Array[] }));
  #taken = 0;
  #kept = 0;

  constructor(bytesMax: Bytes) {
    this.#bytesMax = bytesMax;
  }

  /**
   * At least `length` bytes, with the bytes of some earlier read in them; undefined when all are in use. There is always
   * one buffer, however small the bound.
   */
  take(length: number): Uint8Array | undefined {
    const found = this.#idle.find(({ size }) => length <= size);
    if (found === undefined) {
      throw new RangeError(`Cannot provide a buffer of ${length} bytes: READs end at ${READ_BYTES_MAX}`);
    }
    if (this.#taken > 0 && this.#taken + found.size > this.#bytesMax) return undefined;
    const idle = found.buffers.pop();
    if (idle !== undefined) this.#kept -= idle.length;
    this.#taken += found.size;
    this.#makeRoom();
    // Not from Node's shared pool: these live long and go to the kernel from other threads.
    return idle ?? Buffer.allocUnsafeSlow(found.size);
  }

  /** Nobody writes into it any more. */
  give(buffer: Uint8Array): void {
    this.#taken -= buffer.length;
    this.#kept += buffer.length;
    this.#idle.find(({ size }) => size === buffer.length)?.buffers.push(buffer);
  }

  /** Somebody may still write into it: it is not used again. */
  drop(buffer: Uint8Array): void {
    this.#taken -= buffer.length;
  }

  /** Buffers of one size give way to those of the other. */
  #makeRoom(): void {
    for (const { buffers } of this.#idle) {
      while (this.#taken + this.#kept > this.#bytesMax) {
        const idle = buffers.pop();
        if (idle === undefined) break;
        this.#kept -= idle.length;
      }
    }
  }
}
