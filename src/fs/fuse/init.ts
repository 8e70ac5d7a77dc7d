import type { Cursor } from "../../binary.js";
import { KIB, MIB } from "../../units.js";
import { BACKGROUND_MAX, CONGESTION_THRESHOLD } from "./background-requests.js";
import { INIT_FLAGS, INIT_FLAGS2_PASSTHROUGH, initIn, initIn2, type InitIn, type InitOut } from "./protocol.js";

/** FUSE 7.x: major 7 since Linux 2.6.14. */
const MAJOR = 7;

/** The newest minor whose messages we know; the kernel falls back to whichever is smaller. */
const MINOR_MAX = 45;

/** From Linux 5.17: flags2 counts only with INIT_EXT, which earlier kernels do not know. */
const MINOR_OF_INIT_EXT = 36;
/** From Linux 6.9. */
const MINOR_OF_PASSTHROUGH = 40;

/** Largest READ we ask for: a request costs the same whatever it moves, and the kernel's own default limit is 1 MiB. */
export const READ_BYTES_MAX = MIB;

/** What a READ is limited to when the kernel has no MAX_PAGES (before Linux 4.20). */
const READ_BYTES_WITHOUT_MAX_PAGES = 128 * KIB;

/** The least the kernel accepts. A read-only mount gets no WRITE, and this size decides the request buffers' size. */
const MAX_WRITE = 4096;

/**
 * The kernel wants room for max(8 KiB, headers + max_write) in every read(2) of the device (fs/fuse/dev.c,
 * fuse_dev_do_read). No request of a read-only mount is longer: names end at 1 KiB.
 */
export const REQUEST_BYTES_MAX = 8 * KIB;

/**
 * Why each flag: ASYNC_READ and ASYNC_DIO let several READs of one file run at once; EXPLICIT_INVAL_DATA keeps the page
 * cache of images that never change; ABORT_ERROR tells an abort from an unmount; READDIRPLUS saves a LOOKUP per entry.
 */
const WANTED = Object.values(INIT_FLAGS).reduce((all, flag) => all | flag, 0);

export interface InitLimits {
  /** Bytes of a memory page. */
  readonly pageSize: number;
  /** The sysctl fs.fuse.max_pages_limit (Linux 6.13), when there is one. */
  readonly maxPagesLimit: number | undefined;
  /** Let the kernel read local files by itself where it can: wanted, and this process may (CAP_SYS_ADMIN). */
  readonly passthrough: boolean;
  /** The kernel is answered as one whose newest minor this is. */
  readonly minorMax?: number | undefined;
}

/** What kernel and driver agreed on. */
export interface Negotiated {
  readonly minor: number;
  readonly readBytesMax: number;
  /** Files may be opened in passthrough mode. */
  readonly passthrough: boolean;
}

export type InitAnswer =
  | { readonly agreed: Negotiated; readonly reply: InitOut }
  /** The kernel speaks a later major: it must ask again with ours. */
  | { readonly agreed: undefined; readonly reply: InitOut };

/**
 * How deep file systems may be stacked on a backing file: 1 lets it lie on an ordinary file system, and overlayfs still
 * lie on our mount. 0 would refuse passthrough.
 */
const STACK_DEPTH_MAX = 1;

/** Reads a body of 16 bytes (up to Linux 5.16) or 64 (later), or of whatever a later kernel sends. */
export function decodeInit(cursor: Cursor): InitIn {
  const init = cursor.take(initIn);
  const isExtended = (init.flags & INIT_FLAGS.INIT_EXT) !== 0 && cursor.remaining >= initIn2.size;
  const { flags2 } = isExtended ? cursor.take(initIn2) : { flags2: 0 };
  cursor.skip(cursor.remaining);
  return { ...init, flags2 };
}

export function negotiate(init: InitIn, limits: InitLimits): InitAnswer {
  const minor = Math.min(init.minor, limits.minorMax ?? MINOR_MAX);
  const flags = (init.flags & WANTED & (minor < MINOR_OF_INIT_EXT ? ~INIT_FLAGS.INIT_EXT : ~0)) >>> 0;
  const pagesMax = Math.floor(READ_BYTES_MAX / limits.pageSize);
  const maxPages = Math.max(1, Math.min(pagesMax, limits.maxPagesLimit ?? pagesMax));
  const readBytesMax = (flags & INIT_FLAGS.MAX_PAGES) !== 0 ? maxPages * limits.pageSize : READ_BYTES_WITHOUT_MAX_PAGES;
  const isOffered = minor >= MINOR_OF_PASSTHROUGH && (init.flags2 & INIT_FLAGS2_PASSTHROUGH) !== 0;
  const passthrough = limits.passthrough && isOffered;
  const reply: InitOut = {
    major: MAJOR,
    minor,
    // Echoed: a smaller value, 0 above all, makes every buffered read a request of one page.
    maxReadahead: init.maxReadahead,
    flags,
    maxBackground: BACKGROUND_MAX,
    congestionThreshold: CONGESTION_THRESHOLD,
    maxWrite: MAX_WRITE,
    timeGran: 1,
    maxPages,
    mapAlignment: 0,
    flags2: passthrough ? INIT_FLAGS2_PASSTHROUGH : 0,
    maxStackDepth: passthrough ? STACK_DEPTH_MAX : 0,
    requestTimeout: 0,
  };
  return init.major > MAJOR ? { agreed: undefined, reply } : { agreed: { minor, readBytesMax, passthrough }, reply };
}
