/**
 * Layouts and numbers of the NBD protocol: github.com/NetworkBlockDevice/nbd, doc/proto.md, sections "Newstyle negotiation",
 * "Transmission" and "Values". Everything on the wire is big-endian.
 */
import { struct, u16be, u32be, u64be, u64bigbe } from "../binary.js";

/** "NBDMAGIC" */
export const INIT_MAGIC = 0x4e42444d41474943n;
/** "IHAVEOPT" */
export const OPTION_MAGIC = 0x49484156454f5054n;
export const OPTION_REPLY_MAGIC = 0x0003e889045565a9n;
export const REQUEST_MAGIC = 0x25609513;
export const SIMPLE_REPLY_MAGIC = 0x67446698;
export const STRUCTURED_REPLY_MAGIC = 0x668e33ef;

/** What the server says first. */
export const greeting = struct({ init: u64bigbe, option: u64bigbe, flags: u16be }, 18, "NBD greeting");
/** Of the greeting, and of the client's 4-byte answer to it. */
export const HANDSHAKE = { FIXED_NEWSTYLE: 1, NO_ZEROES: 2 } as const;

export const optionHead = struct({ magic: u64bigbe, option: u32be, length: u32be }, 16, "NBD option");
export const optionReplyHead = struct(
  { magic: u64bigbe, option: u32be, type: u32be, length: u32be },
  20,
  "NBD option reply",
);

export const OPTION = {
  EXPORT_NAME: 1,
  ABORT: 2,
  LIST: 3,
  STARTTLS: 5,
  INFO: 6,
  GO: 7,
  STRUCTURED_REPLY: 8,
  LIST_META_CONTEXT: 9,
  SET_META_CONTEXT: 10,
} as const;

/** Types of replies to options; those with the highest bit are errors, followed by a text. */
export const OPTION_REPLY = { ACK: 1, SERVER: 2, INFO: 3, META_CONTEXT: 4 } as const;
export const OPTION_ERROR_BIT = 0x8000_0000;
export const OPTION_ERROR = {
  UNSUPPORTED: 0x8000_0001,
  POLICY: 0x8000_0002,
  INVALID: 0x8000_0003,
  PLATFORM: 0x8000_0004,
  TLS_REQUIRED: 0x8000_0005,
  UNKNOWN: 0x8000_0006,
  SHUTDOWN: 0x8000_0007,
  BLOCK_SIZE_REQUIRED: 0x8000_0008,
  TOO_BIG: 0x8000_0009,
} as const;

/** What an INFO reply tells; its first field. */
export const INFO = { EXPORT: 0, NAME: 1, DESCRIPTION: 2, BLOCK_SIZE: 3 } as const;
export const exportInfo = struct({ type: u16be, size: u64be, flags: u16be }, 12, "NBD_INFO_EXPORT");
/** The answer to EXPORT_NAME, which has no head; zeroes follow unless both sides left them out. */
export const namedExport = struct({ size: u64be, flags: u16be }, 10, "NBD_OPT_EXPORT_NAME");
export const NAMED_EXPORT_ZEROES = 124;
/** In bytes. */
export const blockSizeInfo = struct(
  { type: u16be, minimum: u32be, preferred: u32be, maximum: u32be },
  14,
  "NBD_INFO_BLOCK_SIZE",
);

/** Of an export. */
export const TRANSMISSION = {
  HAS_FLAGS: 1,
  READ_ONLY: 2,
  SEND_FLUSH: 4,
  SEND_FUA: 8,
  SEND_WRITE_ZEROES: 64,
  CAN_MULTI_CONN: 256,
} as const;

export const request = struct(
  { magic: u32be, flags: u16be, type: u16be, cookie: u64be, offset: u64be, length: u32be },
  28,
  "NBD request",
);
export type NbdRequest = ReturnType<typeof request.decode>;
export const COMMAND = {
  READ: 0,
  WRITE: 1,
  DISCONNECT: 2,
  FLUSH: 3,
  WRITE_ZEROES: 6,
  BLOCK_STATUS: 7,
  READ_SHARED: 0x766d,
} as const;
/**
 * READ_SHARED is ours and never sent to a server that is not: a READ with these four bytes behind it, whose data the server puts
 * at that place of the memory that the two have in common. Its answer has no data.
 */
export const sharedPlace = struct({ offset: u32be }, 4, "place in the shared memory");
export const COMMAND_FLAG = { FUA: 1, NO_HOLE: 2, REQUEST_ONE: 8 } as const;

/** Both kinds of replies have the cookie at byte 8; a structured one goes on with its length. */
export const simpleReply = struct({ magic: u32be, error: u32be, cookie: u64be }, 16, "NBD simple reply");
export const structuredReply = struct(
  { magic: u32be, flags: u16be, type: u16be, cookie: u64be, length: u32be },
  20,
  "NBD structured reply",
);
export const REPLY_DONE = 1;
export const CHUNK = {
  NONE: 0,
  OFFSET_DATA: 1,
  OFFSET_HOLE: 2,
  BLOCK_STATUS: 5,
  ERROR: 0x8001,
  ERROR_OFFSET: 0x8002,
} as const;
export const CHUNK_ERROR_BIT = 0x8000;

/** The allocation of an export: extents of {u32 length, u32 flags}. */
export const ALLOCATION_CONTEXT = "base:allocation";
export const ALLOCATION = { HOLE: 1, ZERO: 2 } as const;

/** Of replies: the numbers of Linux for some of its errors, on every machine. */
export const NBD_ERROR = {
  EPERM: 1,
  EIO: 5,
  ENOMEM: 12,
  EINVAL: 22,
  ENOSPC: 28,
  EOVERFLOW: 75,
  ENOTSUP: 95,
  ESHUTDOWN: 108,
} as const;

/** A string of the protocol has at most this many bytes. */
export const TEXT_BYTES_MAX = 4096;
/** Requests of up to this size are always allowed, unless the server says otherwise. */
export const PAYLOAD_BYTES_MAX = 32 * 1024 * 1024;
