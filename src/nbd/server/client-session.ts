import type { Socket } from "node:net";
import { encoded, u32be, u64be, viewOf } from "../../binary.js";
import { errorChain, IntegrityError } from "../../errors.js";
import type { Logger } from "../../log.js";
import { bytes } from "../../units.js";
import {
  CHUNK,
  COMMAND,
  COMMAND_FLAG,
  NBD_ERROR,
  type NbdRequest,
  REPLY_DONE,
  request,
  REQUEST_MAGIC,
  sharedPlace,
  SIMPLE_REPLY_MAGIC,
  simpleReply,
  STRUCTURED_REPLY_MAGIC,
  structuredReply,
  TEXT_BYTES_MAX,
} from "../protocol.js";
import { Receiver } from "../receiver.js";
import { NbdServerError, type ServedDisk } from "./served-disk.js";
import { checkRequest, invalid } from "./request-check.js";
import { type Agreed, ALLOCATION_ID, welcome } from "./server-handshake.js";
import { writeZeroes } from "./write-zeroes.js";

/** Of one client, under way at a time: as many as a FUSE mount has readers; further ones stay in the socket. */
const REQUESTS_MAX = 32;
/** Of one client's requests, in memory at a time. */
const REQUESTS_BYTES_MAX = 64 * 1024 * 1024;

/** Of buffers that wait to be used again: as much as a socket takes at a time, for a few requests. */
const KEPT_BYTES_MAX = 8 * 1024 * 1024;

/** Serves one client until it leaves. */
export class ClientSession {
  readonly #socket: Socket;
  readonly #logger: Logger;
  readonly #shared: Uint8Array | undefined;
  readonly #receiver = new Receiver();
  readonly #head = new Uint8Array(request.size);
  /** For the answers to reads, by size: used again when the kernel has them. */
  readonly #buffers: Uint8Array[] = [];
  #agreed: Agreed | undefined;
  #requests = 0;
  #requestBytes = 0;
  #isFull = false;
  #isLeaving = false;
  #failRead: ((error: Error) => void) | undefined;

  /** @param shared memory that the client has as well */
  constructor(socket: Socket, logger: Logger, shared: Uint8Array | undefined) {
    this.#socket = socket;
    this.#logger = logger;
    this.#shared = shared;
  }

  /** Resolves when the client is gone; never rejects. */
  async serve(disks: readonly ServedDisk[]): Promise<void> {
    const socket = this.#socket;
    const closed = new Promise<void>((resolve) => {
      socket.once("close", () => {
        this.#failRead?.(new Error("the client is gone"));
        resolve();
      });
    });
    socket.on("error", (error) => {
      this.#logger.debug("An NBD client's connection failed", { reason: error.message });
    });
    socket.on("data", (chunk: Buffer) => {
      this.#guard(() => {
        this.#receiver.push(chunk);
      });
    });
    try {
      const io = { read: (length: number) => this.#read(length), write: this.#write.bind(this) };
      this.#agreed = await welcome(io, disks);
      if (this.#agreed === undefined) socket.end();
      else this.#nextRequest();
    } catch (error) {
      this.#drop(error);
    }
    await closed;
  }

  /** Since the end of the negotiation. */
  get #terms(): Agreed {
    if (this.#agreed === undefined) throw new TypeError("Nothing is agreed upon yet");
    return this.#agreed;
  }

  #guard(act: () => void): void {
    try {
      act();
    } catch (error) {
      this.#drop(error);
    }
  }

  #drop(error: unknown): void {
    if (!this.#socket.destroyed) this.#logger.warn(`An NBD client is cut off: ${errorChain(error)}`);
    this.#socket.destroy();
  }

  async #read(length: number): Promise<Uint8Array> {
    const target = new Uint8Array(length);
    await new Promise<void>((resolve, reject) => {
      this.#failRead = reject;
      this.#receiver.receive(target, length, resolve);
    });
    this.#failRead = undefined;
    return target;
  }

  #write(...parts: readonly Uint8Array[]): void {
    if (this.#socket.destroyed) return;
    this.#socket.cork();
    for (const part of parts) this.#socket.write(part);
    this.#socket.uncork();
  }

  #nextRequest(): void {
    if (this.#requests >= REQUESTS_MAX || this.#requestBytes >= REQUESTS_BYTES_MAX) {
      this.#isFull = true;
      this.#socket.pause();
      return;
    }
    this.#receiver.receive(this.#head, this.#head.length, () => {
      const asked = request.decode(viewOf(this.#head), 0);
      if (asked.magic !== REQUEST_MAGIC) throw new IntegrityError("the client sends no request");
      if (asked.type === COMMAND.DISCONNECT) {
        this.#isLeaving = true;
        this.#leave();
        return;
      }
      if (asked.type === COMMAND.READ_SHARED) {
        this.#takePlace(asked);
        return;
      }
      if (asked.type !== COMMAND.WRITE) {
        this.#begin(asked, undefined);
        return;
      }
      const { write, blockBytes } = this.#terms.disk;
      // What will be refused is passed over.
      const isTaken = write !== undefined && asked.length <= blockBytes.maximum;
      const data = isTaken ? this.#take(asked.length) : undefined;
      this.#receiver.receive(data, asked.length, () => {
        this.#begin(asked, data);
      });
    });
  }

  #takePlace(asked: NbdRequest): void {
    const place = new Uint8Array(sharedPlace.size);
    this.#receiver.receive(place, place.length, () => {
      const { offset } = sharedPlace.decode(viewOf(place), 0);
      const target = this.#shared?.subarray(offset, offset + asked.length);
      this.#begin(asked, target?.length === asked.length ? target : undefined);
    });
  }

  #begin(asked: NbdRequest, data: Uint8Array | undefined): void {
    const held = asked.type === COMMAND.READ || asked.type === COMMAND.WRITE ? asked.length : 0;
    this.#requests++;
    this.#requestBytes += held;
    void this.#answer(asked, data).finally(() => {
      this.#requests--;
      this.#requestBytes -= held;
      this.#leave();
      if (!this.#isFull) return;
      this.#isFull = false;
      this.#socket.resume();
      // It may be full again at once, and then pauses again.
      this.#guard(() => {
        this.#nextRequest();
      });
    });
    this.#nextRequest();
  }

  /** After a good-bye, when what was asked before is answered. */
  #leave(): void {
    if (this.#isLeaving && this.#requests === 0) this.#socket.end();
  }

  /** @param data to write; of READ_SHARED, where to read it to */
  async #answer(asked: NbdRequest, data: Uint8Array | undefined): Promise<void> {
    const { disk, wantsAllocation } = this.#terms;
    try {
      checkRequest(asked, disk);
      const at = bytes(asked.offset);
      switch (asked.type) {
        case COMMAND.READ:
          await this.#sendData(asked, disk);
          return;
        case COMMAND.READ_SHARED:
          if (data === undefined) throw invalid("it lies outside of the shared memory");
          await disk.read(data, at);
          break;
        case COMMAND.WRITE:
        case COMMAND.WRITE_ZEROES:
          await this.#writeTo(disk, asked, data);
          break;
        case COMMAND.FLUSH:
          await disk.flush?.();
          break;
        case COMMAND.BLOCK_STATUS:
          if (disk.extents === undefined || !wantsAllocation) throw invalid("base:allocation was not agreed upon");
          this.#sendExtents(asked, await disk.extents(at, asked.length));
          return;
        default:
          throw invalid(`there is no command ${asked.type}`);
      }
      this.#sendChunk(asked, CHUNK.NONE);
    } catch (error) {
      this.#sendError(asked, error);
    }
  }

  async #writeTo(disk: ServedDisk, { type, flags, offset, length }: NbdRequest, data?: Uint8Array): Promise<void> {
    if (disk.write === undefined) throw new NbdServerError(NBD_ERROR.EPERM, "it is read-only");
    if (type === COMMAND.WRITE_ZEROES) {
      const { maximum } = disk.blockBytes;
      await writeZeroes(disk.write, { at: offset, length, maximum }, () => !this.#socket.destroyed);
    } else if (data !== undefined) {
      await disk.write(data, bytes(offset));
      this.#give(data);
    }
    if ((flags & COMMAND_FLAG.FUA) !== 0) await disk.flush?.();
  }

  async #sendData(asked: NbdRequest, disk: ServedDisk): Promise<void> {
    const { length, cookie } = asked;
    const buffer = this.#take(length);
    try {
      await disk.read(buffer, bytes(asked.offset));
    } catch (error) {
      // Whoever fills it may still be at it: it is not used again.
      this.#sendError(asked, error);
      return;
    }
    if (this.#socket.destroyed) return;
    const head = this.#terms.isStructured
      ? [structuredHead(cookie, CHUNK.OFFSET_DATA, 8 + length), encoded(u64be, asked.offset)]
      : [encoded(simpleReply, { magic: SIMPLE_REPLY_MAGIC, error: 0, cookie })];
    await new Promise<void>((resolve) => {
      this.#socket.cork();
      for (const part of head) this.#socket.write(part);
      // Called with an error when the client is gone.
      this.#socket.write(buffer, () => {
        resolve();
      });
      this.#socket.uncork();
    });
    this.#give(buffer);
  }

  #sendExtents(asked: NbdRequest, extents: readonly { readonly length: number; readonly flags: number }[]): void {
    const told = (asked.flags & COMMAND_FLAG.REQUEST_ONE) === 0 ? extents : extents.slice(0, 1);
    const numbers = told.flatMap(({ length, flags }) => [encoded(u32be, length), encoded(u32be, flags)]);
    this.#sendChunk(asked, CHUNK.BLOCK_STATUS, Buffer.concat([encoded(u32be, ALLOCATION_ID), ...numbers]));
  }

  #sendError(asked: NbdRequest, error: unknown): void {
    const nbdError = error instanceof NbdServerError ? error.nbdError : NBD_ERROR.EIO;
    const said = Buffer.from(errorChain(error), "utf8").subarray(0, TEXT_BYTES_MAX);
    if (!this.#terms.isStructured) {
      this.#write(encoded(simpleReply, { magic: SIMPLE_REPLY_MAGIC, error: nbdError, cookie: asked.cookie }));
      return;
    }
    const length = Buffer.alloc(2);
    length.writeUInt16BE(said.length);
    this.#sendChunk(asked, CHUNK.ERROR, Buffer.concat([encoded(u32be, nbdError), length, said]));
  }

  #sendChunk({ cookie }: NbdRequest, type: number, data: Uint8Array = new Uint8Array(0)): void {
    if (this.#terms.isStructured) this.#write(structuredHead(cookie, type, data.length), data);
    else this.#write(encoded(simpleReply, { magic: SIMPLE_REPLY_MAGIC, error: 0, cookie }));
  }

  #take(length: number): Uint8Array {
    const index = this.#buffers.findIndex((buffer) => buffer.length === length);
    const [used] = index < 0 ? [] : this.#buffers.splice(index, 1);
    return used ?? Buffer.allocUnsafeSlow(length);
  }

  #give(buffer: Uint8Array): void {
    const kept = this.#buffers.reduce((sum, { length }) => sum + length, 0);
    if (kept + buffer.length <= KEPT_BYTES_MAX) this.#buffers.push(buffer);
  }
}

function structuredHead(cookie: number, type: number, length: number): Uint8Array {
  return encoded(structuredReply, { magic: STRUCTURED_REPLY_MAGIC, flags: REPLY_DONE, type, cookie, length });
}
