import { Cursor, encoded, u16be, u32be, u64be, viewOf } from "../../binary.js";
import { IntegrityError } from "../../errors.js";
import {
  ALLOCATION_CONTEXT,
  blockSizeInfo,
  exportInfo,
  greeting,
  HANDSHAKE,
  INFO,
  INIT_MAGIC,
  OPTION,
  OPTION_ERROR,
  OPTION_MAGIC,
  OPTION_REPLY,
  OPTION_REPLY_MAGIC,
  optionHead,
  optionReplyHead,
  TEXT_BYTES_MAX,
  TRANSMISSION,
} from "../protocol.js";
import type { ServedDisk } from "./served-disk.js";

/** The socket of a client, as the negotiation uses it. */
export interface ClientSocket {
  read(length: number): Promise<Uint8Array>;
  write(...parts: readonly Uint8Array[]): void;
}

/** What a client wants. */
export interface Agreed {
  readonly disk: ServedDisk;
  readonly isStructured: boolean;
  /** Whether it asked for base:allocation, whose number is ALLOCATION_ID. */
  readonly wantsAllocation: boolean;
}

export const ALLOCATION_ID = 1;

/** Two names and some queries. */
const OPTION_BYTES_MAX = 4 * TEXT_BYTES_MAX;
/** A client needs five; one that asks for ever is cut off. */
const OPTIONS_MAX = 64;

/**
 * Fixed newstyle negotiation from the server's side.
 * @returns undefined when the client said good-bye
 * @throws IntegrityError for a client that breaks the protocol
 */
export async function welcome(socket: ClientSocket, disks: readonly ServedDisk[]): Promise<Agreed | undefined> {
  const flags = HANDSHAKE.FIXED_NEWSTYLE | HANDSHAKE.NO_ZEROES;
  socket.write(encoded(greeting, { init: INIT_MAGIC, option: OPTION_MAGIC, flags }));
  const clientFlags = u32be.decode(viewOf(await socket.read(4)), 0);
  if ((clientFlags & ~flags) !== 0) throw new IntegrityError(`the client has unknown flags ${clientFlags}`);
  return await new Negotiation(socket, disks, (clientFlags & HANDSHAKE.NO_ZEROES) !== 0).run();
}

class Negotiation {
  readonly #socket: ClientSocket;
  readonly #disks: readonly ServedDisk[];
  readonly #omitsZeroes: boolean;
  #isStructured = false;
  /** The export that base:allocation was asked for. */
  #allocationOf: string | undefined;

  constructor(socket: ClientSocket, disks: readonly ServedDisk[], omitsZeroes: boolean) {
    this.#socket = socket;
    this.#disks = disks;
    this.#omitsZeroes = omitsZeroes;
  }

  async run(): Promise<Agreed | undefined> {
    for (let count = 0; count < OPTIONS_MAX; count++) {
      const { magic, option, length } = optionHead.decode(viewOf(await this.#socket.read(optionHead.size)), 0);
      if (magic !== OPTION_MAGIC || length > OPTION_BYTES_MAX) throw new IntegrityError("the client sends no option");
      const data = await this.#socket.read(length);
      if (option === OPTION.ABORT) {
        this.#reply(option, OPTION_REPLY.ACK);
        return undefined;
      }
      const disk = this.#answer(option, data);
      if (disk !== undefined) {
        const wantsAllocation = this.#allocationOf === disk.name && this.#isStructured;
        return { disk, isStructured: this.#isStructured, wantsAllocation };
      }
    }
    throw new IntegrityError(`the client sends more than ${OPTIONS_MAX} options`);
  }

  /** @returns the disk when the transmission begins */
  #answer(option: number, data: Uint8Array): ServedDisk | undefined {
    switch (option) {
      case OPTION.EXPORT_NAME:
        return this.#exportName(Buffer.from(data).toString("utf8"));
      case OPTION.LIST:
        for (const { name } of this.#disks) this.#reply(option, OPTION_REPLY.SERVER, text32(name));
        this.#reply(option, OPTION_REPLY.ACK);
        return undefined;
      case OPTION.STRUCTURED_REPLY:
        this.#isStructured = true;
        this.#reply(option, OPTION_REPLY.ACK);
        return undefined;
      case OPTION.INFO:
      case OPTION.GO:
        return this.#info(option, data);
      case OPTION.SET_META_CONTEXT:
      case OPTION.LIST_META_CONTEXT:
        this.#metaContext(option, data);
        return undefined;
      default:
        this.#reply(option, OPTION_ERROR.UNSUPPORTED);
        return undefined;
    }
  }

  /** The old way in: there is no error, only the end of the connection. */
  #exportName(name: string): ServedDisk {
    const disk = this.#disk(name);
    if (disk === undefined) throw new IntegrityError("the client wants an export that is not there");
    const parts = [encoded(u64be, disk.size), encoded(u16be, transmissionFlags(disk))];
    this.#socket.write(...parts, new Uint8Array(this.#omitsZeroes ? 0 : 124));
    return disk;
  }

  #info(option: number, data: Uint8Array): ServedDisk | undefined {
    const disk = this.#disk(readText(new Cursor(data)));
    if (disk === undefined) {
      this.#reply(option, OPTION_ERROR.UNKNOWN);
      return undefined;
    }
    const flags = transmissionFlags(disk);
    this.#reply(option, OPTION_REPLY.INFO, encoded(exportInfo, { type: INFO.EXPORT, size: disk.size, flags }));
    const sizes = encoded(blockSizeInfo, { type: INFO.BLOCK_SIZE, ...disk.blockBytes });
    this.#reply(option, OPTION_REPLY.INFO, sizes);
    this.#reply(option, OPTION_REPLY.ACK);
    return option === OPTION.GO ? disk : undefined;
  }

  #metaContext(option: number, data: Uint8Array): void {
    const cursor = new Cursor(data);
    const name = readText(cursor);
    const count = cursor.take(u32be);
    const queries: string[] = [];
    while (queries.length < count && cursor.remaining > 0) queries.push(readText(cursor));
    const disk = this.#disk(name);
    if (disk === undefined) {
      this.#reply(option, OPTION_ERROR.UNKNOWN);
      return;
    }
    const isList = option === OPTION.LIST_META_CONTEXT;
    const isAsked =
      queries.some((query) => query === ALLOCATION_CONTEXT || (isList && query === "base:")) ||
      (isList && queries.length === 0);
    const isKnown = disk.extents !== undefined && isAsked;
    if (!isList) this.#allocationOf = isKnown ? name : undefined;
    if (isKnown) {
      const parts = [encoded(u32be, isList ? 0 : ALLOCATION_ID), Buffer.from(ALLOCATION_CONTEXT)];
      this.#reply(option, OPTION_REPLY.META_CONTEXT, Buffer.concat(parts));
    }
    this.#reply(option, OPTION_REPLY.ACK);
  }

  #disk(name: string): ServedDisk | undefined {
    return this.#disks.find((disk) => disk.name === name);
  }

  #reply(option: number, type: number, data: Uint8Array = new Uint8Array(0)): void {
    const head = encoded(optionReplyHead, { magic: OPTION_REPLY_MAGIC, option, type, length: data.length });
    this.#socket.write(head, data);
  }
}

function transmissionFlags({ write, flush }: ServedDisk): number {
  const canFlush = flush === undefined ? 0 : TRANSMISSION.SEND_FLUSH | TRANSMISSION.SEND_FUA;
  const canWrite = write === undefined ? TRANSMISSION.READ_ONLY : TRANSMISSION.SEND_WRITE_ZEROES;
  return TRANSMISSION.HAS_FLAGS | TRANSMISSION.CAN_MULTI_CONN | canWrite | canFlush;
}

function text32(text: string): Uint8Array {
  const data = Buffer.from(text, "utf8");
  return Buffer.concat([encoded(u32be, data.length), data]);
}

function readText(cursor: Cursor): string {
  return Buffer.from(cursor.bytes(cursor.take(u32be))).toString("utf8");
}
