import { setMaxListeners } from "node:events";
import type { BlockSource, Extent, ReadOptions } from "../block-source.js";
import { DiskIoError, IntegrityError, VmmountError } from "../errors.js";
import { bytes, type Bytes } from "../units.js";
import { type NbdTarget, shownTarget } from "./address.js";
import { type ConnectionOptions, NbdConnection } from "./connection.js";
import type { NbdExport } from "./handshake.js";
import { ALLOCATION } from "./protocol.js";
import { unlessAborted } from "../unless-aborted.js";

/** More do not help on a machine of few processors, and each costs the server memory. */
export const CONNECTIONS_MAX = 8;

/** A server that has refused another connection is not asked for one with every read. */
const REFUSED_PAUSE_MS = 10_000;

/** One question about holes; its answer may be shorter. Below 2^32, a multiple of every block size. */
const STATUS_BYTES_MAX = 2 ** 31;

export interface NbdSourceOptions extends ConnectionOptions {
  /** Used as far as the server says that it serves several as one. */
  readonly connectionsMax: number;
  readonly holes: "asked of the server" | "not asked for";
  /** What is served never changes: several connections are as one, whether the server says so or not. */
  readonly isFrozen?: boolean;
}

/**
 * A disk behind an NBD server. A connection that fails fails the reads under way, as retryable; the next read opens a new one,
 * and refuses a server that now serves something else.
 */
export class NbdSource implements BlockSource {
  readonly size: Bytes;
  /** Absent when the server tells nothing of holes. */
  readonly extents?: (from: Bytes, length: Bytes, options: ReadOptions) => AsyncIterable<Extent>;
  readonly #target: NbdTarget;
  readonly #options: NbdSourceOptions;
  readonly #agreed: NbdExport;
  /** Each slot opens its connection with the first read that it gets. */
  readonly #slots: (Slot | undefined)[];
  readonly #closing = new AbortController();
  #refusedAt = -REFUSED_PAUSE_MS;

  private constructor(first: NbdConnection, target: NbdTarget, options: NbdSourceOptions) {
    this.#target = target;
    this.#options = options;
    this.#agreed = first.agreed;
    this.size = first.agreed.size;
    const isOne = first.agreed.takesManyConnections || options.isFrozen === true;
    const count = isOne ? Math.min(options.connectionsMax, CONNECTIONS_MAX) : 1;
    this.#slots = Array.from({ length: Math.max(1, count) }, () => undefined);
    // Each connection that is being opened listens, twice.
    setMaxListeners(0, this.#closing.signal);
    this.#slots[0] = { opening: Promise.resolve(first), opened: first, waiting: 0 };
    if (options.holes === "asked of the server" && first.agreed.allocationContext !== undefined) {
      this.extents = (from, length, { signal }) => this.#askExtents(from, length, signal);
    }
  }

  /** @throws UnreachableError, NotFoundError, AuthError, MissingCapabilityError; the reason of the signal */
  static async open(target: NbdTarget, options: NbdSourceOptions, signal: AbortSignal): Promise<NbdSource> {
    return new NbdSource(await NbdConnection.open(target, options, signal), target, options);
  }

  async read(into: Uint8Array, at: Bytes, { signal }: ReadOptions): Promise<void> {
    signal.throwIfAborted();
    const end = at + into.length;
    if (!Number.isSafeInteger(at) || at < 0 || end > this.size) {
      throw new RangeError(`Cannot read ${into.length} bytes at ${at}: the disk has ${this.size} bytes`);
    }
    const { blockBytesMin: block, payloadBytesMax } = this.#agreed;
    for (let from: number = at; from < end;) {
      const start = from - (from % block);
      const stop = Math.min(start + payloadBytesMax, roundedUp(end, block), this.size);
      const upTo = Math.min(stop, end);
      const piece = into.subarray(from - at, upTo - at);
      if (start === from && stop === upTo) {
        await this.#readWhole(piece, start, signal);
      } else {
        // The server wants whole blocks: what is around the piece is read too.
        const whole = new Uint8Array(stop - start);
        await this.#readWhole(whole, start, signal);
        piece.set(whole.subarray(from - start, upTo - start));
      }
      from = upTo;
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#closing.abort(new DiskIoError(`Cannot read from ${shownTarget(this.#target)}: it was closed`));
    const slots = this.#slots.map((slot) => slot?.opening);
    this.#slots.fill(undefined);
    await Promise.all(
      slots.map(async (opening) => {
        const connection = await opening?.catch(() => undefined);
        await connection?.[Symbol.asyncDispose]();
      }),
    );
  }

  async #readWhole(into: Uint8Array, at: number, signal: AbortSignal): Promise<void> {
    await this.#with(signal, ({ requests }) => requests.read(into, at, signal));
  }

  async *#askExtents(from: Bytes, length: Bytes, signal: AbortSignal): AsyncGenerator<Extent, void, undefined> {
    const { blockBytesMin: block } = this.#agreed;
    const end = from + length;
    for (let at = from - (from % block); at < end;) {
      const asked = Math.min(STATUS_BYTES_MAX, Math.min(roundedUp(end, block), this.size) - at);
      const extents = await this.#with(signal, ({ requests }) => requests.blockStatus(at, asked, signal));
      for (const extent of extents) {
        // The last one may go on beyond what was asked.
        const stop = Math.min(at + extent.length, end);
        const start = Math.max(at, from);
        at += extent.length;
        if (start >= stop) continue;
        const kind = (extent.flags & ALLOCATION.ZERO) === 0 ? "data" : "hole";
        yield { kind, start: bytes(start), length: bytes(stop - start) };
      }
    }
  }

  async #with<T>(signal: AbortSignal, ask: (connection: NbdConnection) => Promise<T>): Promise<T> {
    if (this.#closing.signal.aborted) throw this.#closing.signal.reason;
    // Any number of reads may be given up together; more than ten listeners are no leak.
    setMaxListeners(0, signal);
    const slot = this.#slot();
    slot.waiting++;
    try {
      return await ask(await unlessAborted(slot.opening, signal));
    } catch (error) {
      if (signal.aborted || !(error instanceof VmmountError)) throw error;
      throw new DiskIoError(`${shownTarget(this.#target)}: ${error.message}`, {
        cause: error,
        retryable: error.retryable,
        exit: error.exit,
        hint: error.hint,
      });
    } finally {
      slot.waiting--;
    }
  }

  /**
   * The open one with the fewest waiting. More are opened beside it, and nobody waits for them: a server that has no room for
   * another connection goes on to serve those that it has.
   */
  #slot(): Slot {
    for (const [index, slot] of this.#slots.entries()) {
      if (slot?.opened?.requests.hasFailed === true) this.#slots[index] = undefined;
    }
    const slots = this.#slots.filter((slot) => slot !== undefined);
    const best = leastWaiting(slots.filter(({ opened }) => opened !== undefined));
    const free = this.#slots.indexOf(undefined);
    if (best === undefined) return leastWaiting(slots) ?? this.#open(0);
    const isOpening = slots.some(({ opened }) => opened === undefined);
    const mayOpen = performance.now() >= this.#refusedAt + REFUSED_PAUSE_MS;
    if (best.waiting > 0 && free >= 0 && !isOpening && mayOpen) this.#open(free);
    return best;
  }

  #open(index: number): Slot {
    const slot: Slot = { opening: this.#reopened(), opened: undefined, waiting: 0 };
    this.#slots[index] = slot;
    slot.opening.then(
      (connection) => {
        slot.opened = connection;
      },
      () => {
        this.#refusedAt = performance.now();
        if (this.#slots[index] === slot) this.#slots[index] = undefined;
      },
    );
    return slot;
  }

  async #reopened(): Promise<NbdConnection> {
    const connection = await NbdConnection.open(this.#target, this.#options, this.#closing.signal);
    const { size, blockBytesMin, payloadBytesMax, allocationContext } = connection.agreed;
    const isSame =
      size === this.size &&
      blockBytesMin === this.#agreed.blockBytesMin &&
      payloadBytesMax === this.#agreed.payloadBytesMax &&
      (allocationContext === undefined) === (this.#agreed.allocationContext === undefined);
    if (isSame) return connection;
    await connection[Symbol.asyncDispose]();
    throw new IntegrityError(`it serves another disk than before: ${size} bytes and not ${this.size}`);
  }
}

interface Slot {
  readonly opening: Promise<NbdConnection>;
  opened: NbdConnection | undefined;
  /** Requests that use it. */
  waiting: number;
}

function leastWaiting(slots: readonly Slot[]): Slot | undefined {
  return slots.reduce<Slot | undefined>(
    (best, slot) => (best === undefined || slot.waiting < best.waiting ? slot : best),
    undefined,
  );
}

function roundedUp(value: number, unit: number): number {
  return Math.ceil(value / unit) * unit;
}
