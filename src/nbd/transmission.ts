import { encoded, u32be, u64be, viewOf } from "../binary.js";
import { DiskIoError, IntegrityError, type VmmountError } from "../errors.js";
import { printable } from "../printable.js";
import type { Channel } from "./channel.js";
import { Coverage } from "./coverage.js";
import type { NbdExport } from "./handshake.js";
import {
  CHUNK,
  CHUNK_ERROR_BIT,
  COMMAND,
  COMMAND_FLAG,
  NBD_ERROR,
  REPLY_DONE,
  request,
  REQUEST_MAGIC,
  sharedPlace,
  SIMPLE_REPLY_MAGIC,
  simpleReply,
  STRUCTURED_REPLY_MAGIC,
  structuredReply,
  TEXT_BYTES_MAX,
} from "./protocol.js";
import type { Wanted } from "./receiver.js";
import type { PayloadSlot, SharedPayloads } from "./shared-payloads.js";

/** One extent of base:allocation. */
export interface AllocationExtent {
  readonly length: number;
  /** ALLOCATION of protocol.ts. */
  readonly flags: number;
}

/** A server may give as many extents as it likes; this is 64 Ki of them, and the rest is asked for again. */
const STATUS_BYTES_MAX = 4 + 8 * 65_536;

export interface TransmissionOptions {
  /** Without a sign of the server while it owes an answer. */
  readonly stallMs: number;
  /** With a server of ours on this machine only. */
  readonly shared?: SharedPayloads | undefined;
}

interface WriteOptions {
  readonly fua: boolean;
  readonly signal: AbortSignal;
}

interface Pending {
  readonly what: string;
  readonly command: number;
  readonly at: number;
  readonly length: number;
  /** Of a read, until it is given up. */
  into: Uint8Array | undefined;
  /** Where the data of a read comes that does not come through the socket. */
  readonly slot: PayloadSlot | undefined;
  /** What of a read has come through the socket, holes included. */
  readonly covered: Coverage;
  extents: AllocationExtent[] | undefined;
  error: VmmountError | undefined;
  readonly resolve: () => void;
  readonly reject: (error: unknown) => void;
}

/**
 * The requests under way on one connection, answered in any order. How many there are is up to the callers: each waits for its
 * own.
 */
export class Transmission {
  /** Resolves when the connection is gone. */
  readonly ended: Promise<void>;
  readonly #channel: Channel;
  readonly #agreed: NbdExport;
  readonly #shared: SharedPayloads | undefined;
  readonly #pending = new Map<number, Pending>();
  readonly #head = new Uint8Array(structuredReply.size);
  readonly #headView = viewOf(this.#head);
  #cookie = 0;
  #failure: VmmountError | undefined;
  /** The payload that is coming in. */
  #incoming: { readonly of: Pending; readonly wanted: Wanted } | undefined;

  /** @param stallMs without a sign of the server while it owes an answer: the connection has failed */
  constructor(channel: Channel, agreed: NbdExport, { stallMs, shared }: TransmissionOptions) {
    this.#channel = channel;
    this.#agreed = agreed;
    this.#shared = shared;
    this.ended = new Promise((resolve) => {
      channel.onFailure((error) => {
        this.#failure = error;
        for (const pending of this.#pending.values()) pending.reject(this.#broken(pending));
        this.#pending.clear();
        resolve();
      });
    });
    const onStall = (): void => {
      if (this.#pending.size === 0) return;
      channel.destroy(new DiskIoError(`no sign of the server for ${stallMs / 1000} s`, { retryable: true }));
    };
    channel.onStall(stallMs, onStall);
    // While data to write are on their way, that they go is the sign.
    const writes = (): boolean => [...this.#pending.values()].some(({ command }) => command === COMMAND.WRITE);
    channel.onSilence(stallMs, () => this.#pending.size > 0 && !writes(), onStall);
    this.#nextReply();
  }

  get inFlight(): number {
    return this.#pending.size;
  }

  get hasFailed(): boolean {
    return this.#failure !== undefined;
  }

  /**
   * Fills `into`; nothing is written into it after the promise has settled.
   * @throws DiskIoError, the reason of the signal
   */
  async read(into: Uint8Array, at: number, signal: AbortSignal): Promise<void> {
    signal.throwIfAborted();
    const slot = this.#shared?.take(into.length);
    if (slot === undefined) {
      await this.#ask({ command: COMMAND.READ, at, length: into.length, into, signal });
      return;
    }
    const data = encoded(sharedPlace, { offset: slot.offset });
    await this.#ask({ command: COMMAND.READ_SHARED, at, length: into.length, into, slot, data, signal });
  }

  /**
   * A write that is given up may be carried out all the same, and with what its buffer holds by then.
   * @param options.fua on stable storage when the promise resolves
   */
  async write(data: Uint8Array, at: number, { fua, signal }: WriteOptions): Promise<void> {
    const flags = fua ? COMMAND_FLAG.FUA : 0;
    await this.#ask({ command: COMMAND.WRITE, flags, at, length: data.length, data, signal });
  }

  /** Without sending them. @param length below 4 GiB */
  async writeZeroes(at: number, length: number, { fua, signal }: WriteOptions): Promise<void> {
    const flags = fua ? COMMAND_FLAG.FUA : 0;
    await this.#ask({ command: COMMAND.WRITE_ZEROES, flags, at, length, signal });
  }

  /** Everything that was answered before is on stable storage when the promise resolves. */
  async flush(signal: AbortSignal): Promise<void> {
    await this.#ask({ command: COMMAND.FLUSH, at: 0, length: 0, signal });
  }

  /** Extents from `at` on, in order: at least one, and perhaps fewer or more bytes than asked for. */
  async blockStatus(at: number, length: number, signal: AbortSignal): Promise<readonly AllocationExtent[]> {
    const { extents } = await this.#ask({ command: COMMAND.BLOCK_STATUS, at, length, signal });
    if (extents === undefined) throw new IntegrityError(`the server tells no extents at ${at}`);
    return extents;
  }

  /** Says good-bye; the server closes the connection. */
  disconnect(): void {
    if (this.#failure !== undefined) return;
    this.#send(COMMAND.DISCONNECT, { flags: 0, cookie: 0, offset: 0, length: 0 });
  }

  async #ask(asked: {
    readonly command: number;
    readonly flags?: number;
    readonly at: number;
    readonly length: number;
    readonly into?: Uint8Array;
    readonly slot?: PayloadSlot;
    readonly data?: Uint8Array;
    readonly signal: AbortSignal;
  }): Promise<Pending> {
    const { command, flags = 0, at, length, into, slot, data, signal } = asked;
    signal.throwIfAborted();
    let pending!: Pending;
    const answered = new Promise<void>((resolve, reject) => {
      const what = `${VERBS[command] ?? "ask for"} ${length} bytes at ${at}`;
      pending = {
        what,
        command,
        at,
        length,
        into,
        slot,
        covered: new Coverage(),
        extents: undefined,
        error: undefined,
        resolve,
        reject,
      };
    });
    if (this.#failure !== undefined) {
      if (slot !== undefined) this.#shared?.give(slot);
      throw this.#broken(pending);
    }
    const cookie = ++this.#cookie;
    this.#pending.set(cookie, pending);
    const onAbort = (): void => {
      pending.into = undefined;
      if (this.#incoming?.of === pending) this.#incoming.wanted.target = undefined;
      pending.reject(signal.reason);
    };
    signal.addEventListener("abort", onAbort, { once: true });
    try {
      this.#send(command, { flags, cookie, offset: at, length }, data);
      await answered;
      return pending;
    } finally {
      signal.removeEventListener("abort", onAbort);
    }
  }

  #send(
    type: number,
    fields: { readonly flags: number; readonly cookie: number; readonly offset: number; readonly length: number },
    data?: Uint8Array,
  ): void {
    const head = encoded(request, { magic: REQUEST_MAGIC, type, ...fields });
    if (data === undefined) this.#channel.write(head);
    else this.#channel.write(head, data);
  }

  #nextReply(): void {
    this.#incoming = undefined;
    this.#channel.receiver.receive(this.#head.subarray(0, simpleReply.size), simpleReply.size, () => {
      const { magic, error, cookie } = simpleReply.decode(this.#headView, 0);
      if (magic === SIMPLE_REPLY_MAGIC) {
        this.#simpleReply(this.#pendingOf(cookie), cookie, error);
      } else if (magic === STRUCTURED_REPLY_MAGIC) {
        const rest = this.#head.subarray(simpleReply.size);
        this.#channel.receiver.receive(rest, rest.length, () => {
          this.#chunk();
        });
      } else {
        throw new IntegrityError(`a reply begins with 0x${magic.toString(16)}`);
      }
    });
  }

  #pendingOf(cookie: number): Pending {
    const pending = this.#pending.get(cookie);
    if (pending === undefined) throw new IntegrityError("it answers what nobody had asked");
    return pending;
  }

  #simpleReply(pending: Pending, cookie: number, error: number): void {
    if (error !== 0) pending.error ??= failure(pending, error, "");
    else if (pending.command === COMMAND.READ && this.#agreed.isStructured) {
      throw new IntegrityError("it answers a read in the simple form");
    }
    if (error !== 0 || pending.command !== COMMAND.READ) {
      this.#settle(pending, cookie);
      this.#nextReply();
      return;
    }
    this.#fill(pending, 0, pending.length, () => {
      this.#settle(pending, cookie);
      this.#nextReply();
    });
  }

  #chunk(): void {
    const { flags, type, cookie, length } = structuredReply.decode(this.#headView, 0);
    const pending = this.#pendingOf(cookie);
    const end = (): void => {
      if ((flags & REPLY_DONE) !== 0) this.#settle(pending, cookie);
      this.#nextReply();
    };
    if (type === CHUNK.OFFSET_DATA) {
      if (length < 8) throw new IntegrityError(`a chunk of data has ${length} bytes`);
      this.#small(8, (head) => {
        const from = u64be.decode(viewOf(head), 0) - pending.at;
        this.#fill(pending, from, length - 8, end);
      });
      return;
    }
    if (length > STATUS_BYTES_MAX) throw new IntegrityError(`a chunk of type ${type} has ${length} bytes`);
    this.#small(length, (data) => {
      if ((type & CHUNK_ERROR_BIT) !== 0) pending.error ??= chunkError(pending, data);
      else if (type === CHUNK.OFFSET_HOLE) this.#hole(pending, data);
      else if (type === CHUNK.BLOCK_STATUS) this.#status(pending, data);
      else if (type !== CHUNK.NONE) throw new IntegrityError(`there is no chunk of type ${type}`);
      end();
    });
  }

  #small(length: number, done: (data: Uint8Array) => void): void {
    const data = new Uint8Array(length);
    this.#channel.receiver.receive(data, length, () => {
      done(data);
    });
  }

  /** The next `length` bytes belong into the reader's buffer, from `from` on; nowhere when he has given up. */
  #fill(pending: Pending, from: number, length: number, done: () => void): void {
    this.#checkRange(pending, from, length);
    const target = pending.into?.subarray(from, from + length);
    const wanted = this.#channel.receiver.receive(target, length, () => {
      this.#incoming = undefined;
      done();
    });
    // All of it may have been there already.
    if (wanted.filled < length) this.#incoming = { of: pending, wanted };
  }

  #hole(pending: Pending, data: Uint8Array): void {
    const view = viewOf(data);
    if (data.length !== 12) throw new IntegrityError(`a hole has ${data.length} bytes`);
    const [from, length] = [u64be.decode(view, 0) - pending.at, u32be.decode(view, 8)];
    this.#checkRange(pending, from, length);
    pending.into?.fill(0, from, from + length);
  }

  #checkRange(pending: Pending, from: number, length: number): void {
    if (pending.command !== COMMAND.READ || from < 0 || length < 1 || from + length > pending.length) {
      throw new IntegrityError(`it sends ${length} bytes at ${from + pending.at} where it was to ${pending.what}`);
    }
    pending.covered.add(from, length);
  }

  #status(pending: Pending, data: Uint8Array): void {
    const view = viewOf(data);
    const { allocationContext } = this.#agreed;
    if (pending.command !== COMMAND.BLOCK_STATUS || data.length < 12 || data.length % 8 !== 4) {
      throw new IntegrityError(`it sends ${data.length} bytes of extents where it was to ${pending.what}`);
    }
    // Other contexts than the one that was asked for are none of our business.
    if (u32be.decode(view, 0) !== allocationContext) return;
    const extents: AllocationExtent[] = [];
    for (let at = 4; at < data.length; at += 8) {
      extents.push({ length: u32be.decode(view, at), flags: u32be.decode(view, at + 4) });
    }
    if (extents.some(({ length }) => length === 0)) throw new IntegrityError("it sends an extent of no bytes");
    pending.extents = extents;
  }

  #settle(pending: Pending, cookie: number): void {
    if (pending.error === undefined && pending.command === COMMAND.READ && pending.covered.bytes !== pending.length) {
      throw new IntegrityError(`it sends ${pending.covered.bytes} bytes where it was to ${pending.what}`);
    }
    this.#pending.delete(cookie);
    if (pending.slot !== undefined) this.#takeOver(pending, pending.slot);
    if (pending.error === undefined) pending.resolve();
    else pending.reject(pending.error);
  }

  #takeOver(pending: Pending, slot: PayloadSlot): void {
    if (slot.isStale) pending.error ??= this.#broken(pending);
    if (pending.error === undefined) pending.into?.set(slot.bytes.subarray(0, pending.length));
    this.#shared?.give(slot);
  }

  #broken({ what }: Pending): VmmountError {
    return new DiskIoError(`Cannot ${what}: the connection failed`, {
      cause: this.#failure,
      retryable: this.#failure?.retryable ?? true,
    });
  }
}

const VERBS: Readonly<Record<number, string>> = {
  [COMMAND.READ]: "read",
  [COMMAND.READ_SHARED]: "read",
  [COMMAND.WRITE]: "write",
  [COMMAND.WRITE_ZEROES]: "write zeros over",
  [COMMAND.FLUSH]: "flush",
  [COMMAND.BLOCK_STATUS]: "tell the holes of",
};

const MEANINGS: Readonly<Record<number, string>> = {
  [NBD_ERROR.EPERM]: "it is not permitted",
  [NBD_ERROR.EIO]: "an I/O error",
  [NBD_ERROR.ENOMEM]: "the server has no memory left",
  [NBD_ERROR.EINVAL]: "the server takes the request for invalid",
  [NBD_ERROR.ENOSPC]: "no space is left",
  [NBD_ERROR.EOVERFLOW]: "the request is too large",
  [NBD_ERROR.ENOTSUP]: "the server does not support it",
  [NBD_ERROR.ESHUTDOWN]: "the server is shutting down",
};
const RETRYABLE: readonly number[] = [NBD_ERROR.EIO, NBD_ERROR.ENOMEM, NBD_ERROR.ESHUTDOWN];

function failure({ what }: Pending, error: number, said: string): DiskIoError {
  const meaning = MEANINGS[error] ?? `error ${error}`;
  const text = said === "" ? "" : ` ("${printable(said)}")`;
  return new DiskIoError(`Cannot ${what}: ${meaning}${text}`, { retryable: RETRYABLE.includes(error) });
}

/** {u32 error, u16 length of the text, text}, and an offset after it in one of the two types. */
function chunkError(pending: Pending, data: Uint8Array): DiskIoError {
  if (data.length < 6 || data.length > 6 + TEXT_BYTES_MAX + 8) {
    throw new IntegrityError(`an error has ${data.length} bytes`);
  }
  const view = viewOf(data);
  const error = u32be.decode(view, 0);
  const said = Buffer.from(data.subarray(6, 6 + view.getUint16(4))).toString("utf8", 0, 500);
  // A server that reports "no error" in an error has failed all the same.
  return failure(pending, error === 0 ? NBD_ERROR.EIO : error, said);
}
