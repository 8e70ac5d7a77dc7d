import { i32, padding, struct, u16, u32, u64, u64big, type ValueOf } from "../../binary.js";

/**
 * Messages of the FUSE kernel protocol 7, as linux/fuse.h defines them. Integers have the host's byte order; every
 * machine Node 20 runs on with FUSE and that we support is little-endian (kernel-driver.ts checks).
 *
 * One read(2) of the device is one request: `inHeader`, then what the operation defines. One write(2) is one reply:
 * `outHeader`, then the operation's answer; a failure has no answer.
 *
 * `unique` uses all 64 bits: bit 0 marks an INTERRUPT (FUSE_INT_REQ_BIT), bit 63 a request that the kernel sends again
 * (FUSE_UNIQUE_RESEND, 7.40). The kernel knows a request that was sent again by its new number alone.
 */
export const inHeader = struct(
  {
    len: u32,
    opcode: u32,
    unique: u64big,
    nodeid: u64,
    uid: u32,
    gid: u32,
    pid: u32,
    totalExtlen: u16,
    padding: padding(2),
  },
  40,
  "fuse_in_header",
);
export type InHeader = ValueOf<typeof inHeader>;

/** `error` is 0 or a negative errno. */
export const outHeader = struct({ len: u32, error: i32, unique: u64big }, 16, "fuse_out_header");

/** The first four words, which every protocol version sends; `initIn2` follows in 64-byte bodies (7.36 and later). */
export const initIn = struct({ major: u32, minor: u32, maxReadahead: u32, flags: u32 }, 16, "fuse_init_in");
/** Valid when `flags` holds INIT_EXT; 44 unused bytes follow. */
export const initIn2 = struct({ flags2: u32 }, 4, "fuse_init_in, second part");
/** Both parts; `flags2` is 0 where the kernel sent none. */
export type InitIn = ValueOf<typeof initIn> & ValueOf<typeof initIn2>;

export const initOut = struct(
  {
    major: u32,
    minor: u32,
    maxReadahead: u32,
    flags: u32,
    maxBackground: u16,
    congestionThreshold: u16,
    maxWrite: u32,
    timeGran: u32,
    maxPages: u16,
    mapAlignment: u16,
    flags2: u32,
    maxStackDepth: u32,
    requestTimeout: u16,
    unused: padding(22),
  },
  64,
  "fuse_init_out",
);
export type InitOut = ValueOf<typeof initOut>;

/** `blocks` counts 512 bytes; times are seconds and nanoseconds; `mode` holds the file type too. */
export const attr = struct(
  {
    ino: u64,
    size: u64,
    blocks: u64,
    atime: u64,
    mtime: u64,
    ctime: u64,
    atimensec: u32,
    mtimensec: u32,
    ctimensec: u32,
    mode: u32,
    nlink: u32,
    uid: u32,
    gid: u32,
    rdev: u32,
    blksize: u32,
    flags: u32,
  },
  88,
  "fuse_attr",
);
export type Attr = ValueOf<typeof attr>;

/** Validity is seconds and nanoseconds; a `nodeid` of 0 says "no such name" and may be cached as such. */
export const entryOut = struct(
  {
    nodeid: u64,
    generation: u64,
    entryValid: u64,
    attrValid: u64,
    entryValidNsec: u32,
    attrValidNsec: u32,
    attr,
  },
  128,
  "fuse_entry_out",
);
export type EntryOut = ValueOf<typeof entryOut>;

export const attrOut = struct({ attrValid: u64, attrValidNsec: u32, dummy: padding(4), attr }, 104, "fuse_attr_out");

export const openIn = struct({ flags: u32, openFlags: u32 }, 8, "fuse_open_in");
export const openOut = struct({ fh: u64, openFlags: u32, backingId: i32 }, 16, "fuse_open_out");

/** READ, READDIR and READDIRPLUS. */
export const readIn = struct(
  { fh: u64, offset: u64, size: u32, readFlags: u32, lockOwner: u64big, flags: u32, padding: padding(4) },
  40,
  "fuse_read_in",
);
export type ReadIn = ValueOf<typeof readIn>;

export const releaseIn = struct({ fh: u64, flags: u32, releaseFlags: u32, lockOwner: u64big }, 24, "fuse_release_in");

/** The offset is whatever the program passed to lseek(2): beyond 2^53 too. */
export const lseekIn = struct({ fh: u64, offset: u64big, whence: u32, padding: padding(4) }, 24, "fuse_lseek_in");
export const lseekOut = struct({ offset: u64 }, 8, "fuse_lseek_out");

export const interruptIn = struct({ unique: u64big }, 8, "fuse_interrupt_in");

export const kstatfs = struct(
  {
    blocks: u64,
    bfree: u64,
    bavail: u64,
    files: u64,
    ffree: u64,
    bsize: u32,
    namelen: u32,
    frsize: u32,
    spare: padding(28),
  },
  80,
  "fuse_kstatfs",
);

/** Fixed part; the name follows without NUL, then zeros up to a multiple of 8. `off` is the next entry's cookie. */
export const dirent = struct({ ino: u64, off: u64, namelen: u32, type: u32 }, 24, "fuse_dirent");

/** INIT flags, linux/fuse.h FUSE_*. */
export const INIT_FLAGS = {
  ASYNC_READ: 1 << 0,
  BIG_WRITES: 1 << 5,
  DO_READDIRPLUS: 1 << 13,
  READDIRPLUS_AUTO: 1 << 14,
  ASYNC_DIO: 1 << 15,
  PARALLEL_DIROPS: 1 << 18,
  ABORT_ERROR: 1 << 21,
  MAX_PAGES: 1 << 22,
  EXPLICIT_INVAL_DATA: 1 << 25,
  INIT_EXT: 1 << 30,
} as const;

/** Bit 37 of the INIT flags, so bit 5 of the second word: Linux 6.9 and later. */
export const INIT_FLAGS2_PASSTHROUGH = 1 << 5;

/** Flags of an open reply, FOPEN_*. */
export const OPEN_KEEP_CACHE = 1 << 1;
export const OPEN_CACHE_DIR = 1 << 3;
export const OPEN_NOFLUSH = 1 << 5;
/** Goes with NOFLUSH but not with KEEP_CACHE, which the kernel answers with EIO (fs/fuse/iomode.c). */
export const OPEN_PASSTHROUGH = 1 << 7;

export const SEEK_DATA = 3;
export const SEEK_HOLE = 4;
