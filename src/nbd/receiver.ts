import { IntegrityError } from "../errors.js";

/** The next bytes that somebody waits for. */
export interface Wanted {
  /** Where they go; nowhere when undefined, also from now on. */
  target: Uint8Array | undefined;
  readonly length: number;
  filled: number;
  readonly done: () => void;
}

/**
 * Bytes that came before anybody asked for them: in a handshake each side waits for the other, so the answers to a few options
 * are all there can be.
 */
const EARLY_BYTES_MAX = 64 * 1024;

const NOTHING = new Uint8Array(0);

/**
 * Gives what a socket brings to whoever waits for it: straight from the socket's buffer to the place where it belongs, without
 * a stream, an event or a promise in between.
 */
export class Receiver {
  #wanted: Wanted | undefined;
  /** What came before anybody waited for it. */
  #early: Uint8Array = NOTHING;
  #isServing = false;

  /** That nobody has asked for yet. */
  get earlyBytes(): number {
    return this.#early.length;
  }

  /**
   * One at a time: `done` may ask for what follows.
   * @param target undefined to skip `length` bytes
   */
  receive(target: Uint8Array | undefined, length: number, done: () => void): Wanted {
    if (this.#wanted !== undefined) throw new TypeError("Somebody else waits for the next bytes");
    const wanted = { target, length, filled: 0, done };
    this.#wanted = wanted;
    if (!this.#isServing) this.push(NOTHING);
    return wanted;
  }

  /**
   * The next bytes of the socket; its buffer is its own again when this returns.
   * @throws IntegrityError for more than anybody could have asked for
   */
  push(chunk: Uint8Array): void {
    const all = this.#early.length === 0 ? chunk : Buffer.concat([this.#early, chunk]);
    this.#early = NOTHING;
    this.#isServing = true;
    let rest: Uint8Array;
    try {
      rest = this.#deliver(all);
    } finally {
      this.#isServing = false;
    }
    if (rest.length === 0) return;
    if (rest.length > EARLY_BYTES_MAX) {
      throw new IntegrityError(`the other side sent ${rest.length} bytes that nobody had asked for`);
    }
    // Of a Buffer, slice() would be a view of the socket's.
    this.#early = new Uint8Array(rest);
  }

  /** @returns what nobody waits for yet */
  #deliver(chunk: Uint8Array): Uint8Array {
    let at = 0;
    for (let wanted = this.#wanted; wanted !== undefined; wanted = this.#wanted) {
      const length = Math.min(wanted.length - wanted.filled, chunk.length - at);
      wanted.target?.set(chunk.subarray(at, at + length), wanted.filled);
      wanted.filled += length;
      at += length;
      if (wanted.filled < wanted.length) break;
      this.#wanted = undefined;
      wanted.done();
    }
    return chunk.subarray(at);
  }
}
