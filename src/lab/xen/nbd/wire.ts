/**
 * The numbers of the NBD protocol that xapi-nbd uses (github.com/NetworkBlockDevice/nbd, doc/proto.md): written down apart from
 * those of vmmount's own client, which is tested against this server. Everything is big-endian.
 */
/** "NBDMAGIC" and "IHAVEOPT" */
export const GREETING = Buffer.from("NBDMAGICIHAVEOPT", "latin1");
export const OPTION_MAGIC = GREETING.subarray(8);
const OPTION_REPLY_MAGIC = Buffer.from("0003e889045565a9", "hex");
export const REQUEST_MAGIC = 0x25609513;
const REPLY_MAGIC = 0x67446698;

/** Of the server and the client: the only flag that xapi-nbd knows. */
export const FIXED_NEWSTYLE = 1;
export const OPTION = { exportName: 1, abort: 2, list: 3, startTls: 5 } as const;
export const REPLY = {
  ack: 1,
  unsupported: 2 ** 31 + 1,
  policy: 2 ** 31 + 2,
  invalid: 2 ** 31 + 3,
  tlsRequired: 2 ** 31 + 5,
} as const;
export const COMMAND = { read: 0, write: 1, disconnect: 2 } as const;
export const ERROR = { none: 0, notPermitted: 1, io: 5, invalid: 22 } as const;

const HAS_FLAGS = 1;
const READ_ONLY = 2;
/** Zeros behind size and flags, which clients of this server cannot wave. */
const EXPORT_PADDING_BYTES = 124;

export function optionReply(option: number, type: number): Buffer {
  const reply = Buffer.alloc(20);
  OPTION_REPLY_MAGIC.copy(reply);
  reply.writeUInt32BE(option, 8);
  reply.writeUInt32BE(type, 12);
  return reply;
}

/** The answer to EXPORT_NAME: 134 bytes. */
export function exportAnswer(sizeBytes: number): Buffer {
  const answer = Buffer.alloc(10 + EXPORT_PADDING_BYTES);
  answer.writeBigUInt64BE(BigInt(sizeBytes));
  answer.writeUInt16BE(HAS_FLAGS | READ_ONLY, 8);
  return answer;
}

export const REQUEST_BYTES = 28;

export interface NbdRequest {
  readonly command: number;
  /** Comes back with the answer. */
  readonly cookie: Buffer;
  readonly offset: number;
  readonly length: number;
}

/** @returns undefined for bytes that are no request */
export function parseRequest(bytes: Buffer): NbdRequest | undefined {
  if (bytes.readUInt32BE(0) !== REQUEST_MAGIC) return undefined;
  return {
    command: bytes.readUInt16BE(6),
    cookie: bytes.subarray(8, 16),
    offset: Number(bytes.readBigUInt64BE(16)),
    length: bytes.readUInt32BE(24),
  };
}

export function simpleReply({ cookie }: NbdRequest, error: number): Buffer {
  const reply = Buffer.alloc(16);
  reply.writeUInt32BE(REPLY_MAGIC);
  reply.writeUInt32BE(error, 4);
  cookie.copy(reply, 8);
  return reply;
}
