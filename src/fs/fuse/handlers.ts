import { encoded } from "../../binary.js";
import { bytes } from "../../units.js";
import type { Errno } from "../errno.js";
import { NAME_BYTES_MAX } from "../filesystem.js";
import { attrOf, entryOf, NEGATIVE_ENTRY } from "./attributes.js";
import { DirectoryListing } from "./directory.js";
import { negotiate } from "./init.js";
import {
  attrOut,
  entryOut,
  initOut,
  kstatfs,
  lseekOut,
  OPEN_CACHE_DIR,
  OPEN_KEEP_CACHE,
  OPEN_NOFLUSH,
  OPEN_PASSTHROUGH,
  openOut,
  SEEK_DATA,
  SEEK_HOLE,
  type InHeader,
  type InitIn,
  type ReadIn,
} from "./protocol.js";
import type { Session } from "./session.js";
import { VALID_SECONDS } from "./validity.js";

/** The answer's bytes, an errno, or "none": the request has no answer, or its handler sends it by itself. */
export type Outcome = Uint8Array | Errno | "none";

const EMPTY = new Uint8Array(0);

/** What statfs counts in: df shows the same numbers whatever it is. */
const STATFS_BLOCK_BYTES = 4096;

export function init(session: Session, _header: InHeader, request: InitIn): Outcome {
  const answer = negotiate(request, session.limits);
  if (answer.agreed !== undefined) session.negotiated(answer.agreed);
  return encoded(initOut, answer.reply);
}

export function lookup(session: Session, header: InHeader, name: string): Outcome {
  const node = session.filesystem.lookup(header.nodeid, name);
  return encoded(entryOut, node === undefined ? NEGATIVE_ENTRY : entryOf(node));
}

export function getattr(session: Session, header: InHeader): Outcome {
  const node = session.filesystem.attributes(header.nodeid);
  if (node === undefined) return "ENOENT";
  return encoded(attrOut, { attrValid: VALID_SECONDS, attrValidNsec: 0, attr: attrOf(node) });
}

/**
 * KEEP_CACHE: images never change, so pages stay valid from one open to the next. NOFLUSH: nothing is written.
 * PASSTHROUGH: the kernel reads a local file by itself, through that file's own page cache.
 */
export function open(session: Session, header: InHeader): Outcome {
  const node = session.filesystem.attributes(header.nodeid);
  if (node === undefined) return "ENOENT";
  if (node.kind === "directory") return "EISDIR";
  const file = session.filesystem.open(node.inode);
  const backingId = session.passthrough.backingId(node, file);
  const mode = backingId === undefined ? OPEN_KEEP_CACHE : OPEN_PASSTHROUGH;
  const fh = session.files.addFile(node, file);
  return encoded(openOut, { fh, openFlags: mode | OPEN_NOFLUSH, backingId: backingId ?? 0 });
}

export function read(session: Session, header: InHeader, request: ReadIn): Outcome {
  const handle = session.files.file(request.fh);
  if (handle === undefined) return "EBADF";
  session.reads.serve(header, handle, request.offset, request.size);
  return "none";
}

export function release(session: Session, _header: InHeader, request: { readonly fh: number }): Outcome {
  session.files.releaseFile(request.fh);
  return EMPTY;
}

export function opendir(session: Session, header: InHeader): Outcome {
  const node = session.filesystem.attributes(header.nodeid);
  if (node === undefined) return "ENOENT";
  const entries = session.filesystem.list(header.nodeid);
  if (entries === undefined) return "ENOTDIR";
  const fh = session.files.addDirectory(new DirectoryListing(node, entries));
  return encoded(openOut, { fh, openFlags: OPEN_KEEP_CACHE | OPEN_CACHE_DIR, backingId: 0 });
}

export function readdir(session: Session, _header: InHeader, request: ReadIn): Outcome {
  return session.files.directory(request.fh)?.encode(request.offset, request.size, false) ?? "EBADF";
}

export function readdirplus(session: Session, _header: InHeader, request: ReadIn): Outcome {
  return session.files.directory(request.fh)?.encode(request.offset, request.size, true) ?? "EBADF";
}

export function releasedir(session: Session, _header: InHeader, request: { readonly fh: number }): Outcome {
  session.files.releaseDirectory(request.fh);
  return EMPTY;
}

export function statfs(session: Session): Outcome {
  return encoded(kstatfs, {
    blocks: Math.ceil(session.filesystem.totalBytes / STATFS_BLOCK_BYTES),
    bfree: 0,
    bavail: 0,
    files: session.filesystem.fileCount,
    ffree: 0,
    bsize: STATFS_BLOCK_BYTES,
    namelen: NAME_BYTES_MAX,
    frsize: STATFS_BLOCK_BYTES,
  });
}

interface LseekRequest {
  readonly fh: number;
  readonly offset: bigint;
  readonly whence: number;
}

/** lseek(2): ENXIO at and beyond the end, and for SEEK_DATA within the last hole; the end of the file is a hole. */
export function lseek(session: Session, _header: InHeader, request: LseekRequest): Outcome {
  const handle = session.files.file(request.fh);
  if (handle === undefined) return "EBADF";
  if (request.whence !== SEEK_DATA && request.whence !== SEEK_HOLE) return "EINVAL";
  if (request.offset >= BigInt(handle.size)) return "ENXIO";
  const at = bytes(Number(request.offset));
  const found =
    request.whence === SEEK_DATA ? handle.file.seek(at, "data") : (handle.file.seek(at, "hole") ?? handle.size);
  return found === undefined ? "ENXIO" : encoded(lseekOut, { offset: found });
}

/**
 * A signal hit the caller of `unique`. A READ in service looks after itself. Any other request was answered at once, so
 * either it is done (then this reply finds nothing, harmlessly) or the interrupt has overtaken it: EAGAIN makes the
 * kernel send the interrupt again.
 */
export function interrupt(session: Session, _header: InHeader, request: { readonly unique: bigint }): Outcome {
  return session.reads.interrupt(request.unique) ? "none" : "EAGAIN";
}

export function succeed(): Outcome {
  return EMPTY;
}

export function unsupported(): Outcome {
  return "ENOSYS";
}

export function ignore(): Outcome {
  return "none";
}
