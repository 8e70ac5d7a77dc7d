import { Cursor, encoded, u16be, u32be, viewOf } from "../binary.js";
import { AuthError, IntegrityError, MissingCapabilityError, NotFoundError, UnreachableError } from "../errors.js";
import { printable } from "../printable.js";
import { bytes, type Bytes } from "../units.js";
import { type NbdTarget, shownTarget } from "./address.js";
import type { Channel, ChannelOptions } from "./channel.js";
import {
  ALLOCATION_CONTEXT,
  blockSizeInfo,
  exportInfo,
  greeting,
  HANDSHAKE,
  INFO,
  INIT_MAGIC,
  NAMED_EXPORT_ZEROES,
  namedExport,
  OPTION,
  OPTION_ERROR,
  OPTION_ERROR_BIT,
  OPTION_MAGIC,
  OPTION_REPLY,
  OPTION_REPLY_MAGIC,
  optionHead,
  optionReplyHead,
  PAYLOAD_BYTES_MAX,
  TEXT_BYTES_MAX,
  TRANSMISSION,
} from "./protocol.js";

/** What server and client agreed upon. */
export interface NbdExport {
  readonly size: Bytes;
  readonly isReadOnly: boolean;
  readonly takesFlush: boolean;
  readonly takesFua: boolean;
  readonly takesZeroes: boolean;
  /** Several connections see each other's writes at once. */
  readonly takesManyConnections: boolean;
  /** Requests start and end at multiples of this. */
  readonly blockBytesMin: number;
  readonly payloadBytesMax: number;
  readonly isStructured: boolean;
  /** Of base:allocation; undefined when the server tells nothing of holes. */
  readonly allocationContext: number | undefined;
}

/** A reply to an option: two texts and some numbers. */
const OPTION_REPLY_BYTES_MAX = 4 * TEXT_BYTES_MAX;
/** NBD_OPT_GO is answered by an export, two block sizes, a name and a description; a talkative server is cut off. */
const OPTION_REPLIES_MAX = 64;
/** What every server without a word on block sizes takes; XAPI ends the connection at anything smaller. */
const SILENT_BLOCK_BYTES = 512;
/** doc/proto.md, "Block size constraints": a power of 2 up to 64 KiB. */
const BLOCK_BYTES_MIN_MAX = 64 * 1024;

/**
 * Fixed newstyle negotiation up to the transmission phase: TLS where it is wanted, structured replies and base:allocation where
 * the server has them.
 * @throws UnreachableError for another protocol or no TLS, NotFoundError for no such export, AuthError
 */
export async function negotiate(channel: Channel, target: NbdTarget, options: ChannelOptions): Promise<NbdExport> {
  const shown = shownTarget(target);
  const { omitsZeroes } = await greet(channel, shown);
  if (target.tls !== undefined) {
    const { type, data } = await singleReply(channel, OPTION.STARTTLS);
    if (type !== OPTION_REPLY.ACK) throw refusal(`${shown} does not speak TLS`, type, data);
    await channel.startTls(target.tls, options);
  }
  const structured = await singleReply(channel, OPTION.STRUCTURED_REPLY);
  const isStructured = structured.type === OPTION_REPLY.ACK;
  if (structured.type === OPTION_ERROR.TLS_REQUIRED) {
    throw refusal(`${shown} wants TLS`, structured.type, structured.data);
  }
  const allocationContext = isStructured ? await askAllocation(channel, target.exportName) : undefined;
  const offered = (await go(channel, target, shown)) ?? (await nameExport(channel, target.exportName, omitsZeroes));
  return { ...offered, isStructured, allocationContext };
}

async function greet(channel: Channel, shown: string): Promise<{ readonly omitsZeroes: boolean }> {
  const { init, option, flags } = greeting.decode(viewOf(await channel.read(greeting.size)), 0);
  if (init !== INIT_MAGIC || option !== OPTION_MAGIC || (flags & HANDSHAKE.FIXED_NEWSTYLE) === 0) {
    throw new UnreachableError(`Cannot use ${shown}: it speaks no NBD, or one from before 2011`, { retryable: false });
  }
  channel.write(encoded(u32be, HANDSHAKE.FIXED_NEWSTYLE | (flags & HANDSHAKE.NO_ZEROES)));
  return { omitsZeroes: (flags & HANDSHAKE.NO_ZEROES) !== 0 };
}

interface OptionReply {
  readonly type: number;
  readonly data: Buffer;
}

function sendOption(channel: Channel, option: number, data: Uint8Array = new Uint8Array(0)): void {
  channel.write(encoded(optionHead, { magic: OPTION_MAGIC, option, length: data.length }), data);
}

async function reply(channel: Channel, option: number): Promise<OptionReply> {
  const head = optionReplyHead.decode(viewOf(await channel.read(optionReplyHead.size)), 0);
  if (head.magic !== OPTION_REPLY_MAGIC || head.option !== option) {
    throw new IntegrityError(`the server answers option ${head.option} where ${option} was asked`);
  }
  if (head.length > OPTION_REPLY_BYTES_MAX) {
    throw new IntegrityError(`the server answers option ${option} with ${head.length} bytes`);
  }
  return { type: head.type, data: await channel.read(head.length) };
}

async function singleReply(channel: Channel, option: number): Promise<OptionReply> {
  sendOption(channel, option);
  return await reply(channel, option);
}

/** Replies up to the last one: an acknowledgement or an error. */
async function* replies(channel: Channel, option: number): AsyncGenerator<OptionReply, OptionReply, undefined> {
  for (let count = 0; count < OPTION_REPLIES_MAX; count++) {
    const one = await reply(channel, option);
    if (one.type === OPTION_REPLY.ACK || one.type >= OPTION_ERROR_BIT) return one;
    yield one;
  }
  throw new IntegrityError(`the server gives more than ${OPTION_REPLIES_MAX} answers to option ${option}`);
}

/** @returns the number that stands for base:allocation from now on; undefined when the server does not have it */
async function askAllocation(channel: Channel, exportName: string): Promise<number | undefined> {
  const query = Buffer.concat([text32(exportName), encoded(u32be, 1), text32(ALLOCATION_CONTEXT)]);
  sendOption(channel, OPTION.SET_META_CONTEXT, query);
  let context: number | undefined;
  for await (const { type, data } of replies(channel, OPTION.SET_META_CONTEXT)) {
    if (type !== OPTION_REPLY.META_CONTEXT) continue;
    const cursor = new Cursor(data);
    const id = cursor.take(u32be);
    if (Buffer.from(cursor.bytes(cursor.remaining)).toString() === ALLOCATION_CONTEXT) context = id;
  }
  return context;
}

type Offered = Omit<NbdExport, "isStructured" | "allocationContext">;

/** @returns undefined when the server does not know the option, as those from before 2016 and that of XAPI */
async function go(channel: Channel, target: NbdTarget, shown: string): Promise<Offered | undefined> {
  const wanted = [INFO.BLOCK_SIZE];
  const infos = Buffer.concat([encoded(u16be, wanted.length), ...wanted.map((info) => encoded(u16be, info))]);
  sendOption(channel, OPTION.GO, Buffer.concat([text32(target.exportName), infos]));
  let offered: { readonly size: Bytes; readonly flags: number } | undefined;
  let sizes = { minimum: 1, maximum: PAYLOAD_BYTES_MAX };
  const answers = replies(channel, OPTION.GO);
  for (;;) {
    const { value, done } = await answers.next();
    if (done === true) {
      if (value.type === OPTION_ERROR.UNSUPPORTED) return undefined;
      if (value.type !== OPTION_REPLY.ACK) throw refusal(`Cannot open ${shown}`, value.type, value.data);
      break;
    }
    if (value.type !== OPTION_REPLY.INFO) continue;
    const view = viewOf(value.data);
    const kind = new Cursor(value.data).take(u16be);
    if (kind === INFO.EXPORT) {
      const { size, flags } = exportInfo.decode(view, 0);
      offered = { size: bytes(size), flags };
    } else if (kind === INFO.BLOCK_SIZE) {
      sizes = checkedSizes(blockSizeInfo.decode(view, 0));
    }
  }
  if (offered === undefined) throw new IntegrityError("the server does not tell the size of the export");
  return described(offered, sizes);
}

/** The old way in: a server that does not have the export has no way to say so, and closes the connection. */
async function nameExport(channel: Channel, name: string, omitsZeroes: boolean): Promise<Offered> {
  const data = Buffer.from(name, "utf8");
  if (data.length > TEXT_BYTES_MAX) throw new RangeError(`Cannot send a name of ${data.length} bytes`);
  sendOption(channel, OPTION.EXPORT_NAME, data);
  const { size, flags } = namedExport.decode(viewOf(await channel.read(namedExport.size)), 0);
  if (!omitsZeroes) await channel.read(NAMED_EXPORT_ZEROES);
  return described({ size: bytes(size), flags }, { minimum: SILENT_BLOCK_BYTES, maximum: PAYLOAD_BYTES_MAX });
}

function described(
  offered: { readonly size: Bytes; readonly flags: number },
  sizes: { readonly minimum: number; readonly maximum: number },
): Offered {
  const has = (flag: number): boolean => (offered.flags & flag) !== 0;
  return {
    size: offered.size,
    isReadOnly: has(TRANSMISSION.READ_ONLY),
    takesFlush: has(TRANSMISSION.SEND_FLUSH),
    takesFua: has(TRANSMISSION.SEND_FUA),
    takesZeroes: has(TRANSMISSION.SEND_WRITE_ZEROES),
    takesManyConnections: has(TRANSMISSION.CAN_MULTI_CONN),
    blockBytesMin: sizes.minimum,
    payloadBytesMax: sizes.maximum,
  };
}

function checkedSizes({ minimum, maximum }: { minimum: number; maximum: number }): {
  minimum: number;
  maximum: number;
} {
  const isPower = Number.isInteger(Math.log2(minimum));
  if (!isPower || minimum > BLOCK_BYTES_MIN_MAX || maximum < minimum) {
    throw new IntegrityError(`the server wants blocks of ${minimum} to ${maximum} bytes`);
  }
  const usable = Math.min(maximum, PAYLOAD_BYTES_MAX);
  return { minimum, maximum: usable - (usable % minimum) };
}

/** A text behind its length. */
function text32(text: string): Buffer {
  const data = Buffer.from(text, "utf8");
  if (data.length > TEXT_BYTES_MAX) throw new RangeError(`Cannot send a name of ${data.length} bytes`);
  return Buffer.concat([encoded(u32be, data.length), data]);
}

function refusal(action: string, type: number, data: Buffer): Error {
  const said = data.length === 0 ? "" : `: the server says "${printable(data.toString("utf8", 0, 500))}"`;
  switch (type) {
    case OPTION_ERROR.UNKNOWN:
      return new NotFoundError(`${action}: there is no such export${said}`);
    case OPTION_ERROR.POLICY:
      return new AuthError(`${action}: the server does not allow it${said}`);
    case OPTION_ERROR.TLS_REQUIRED:
      return new UnreachableError(`${action}: it is served over TLS only${said}`, { retryable: false });
    case OPTION_ERROR.SHUTDOWN:
      return new UnreachableError(`${action}: the server is shutting down${said}`);
    default:
      return new MissingCapabilityError(`${action}: error ${(type - OPTION_ERROR_BIT).toString()} of option${said}`);
  }
}
