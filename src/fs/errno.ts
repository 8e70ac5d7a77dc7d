import { constants } from "node:os";
import { VmmountError } from "../errors.js";
import type { ExitName } from "../exit-codes.js";

/** The errno values a file system operation of ours may answer. */
export type Errno =
  | "EBADF"
  | "EBUSY"
  | "EAGAIN"
  | "EINTR"
  | "EINVAL"
  | "EIO"
  | "EISDIR"
  | "ENOENT"
  | "ENOSPC"
  | "ENOSYS"
  | "ENOTDIR"
  | "ENXIO"
  | "EPERM";

/** The positive number of an errno on this machine. */
export function errnoNumber(errno: Errno): number {
  return constants.errno[errno];
}

/**
 * The errno of a failed operation on an object that exists. Backup agents take ENOENT for "vanished while I looked" and
 * EACCES for "not meant for me": both skip a file and still end well. So everything that means "your backup is not
 * complete" is EIO, whatever went wrong behind it.
 */
const ERRNO_BY_EXIT: Record<ExitName, Errno> = {
  ok: "EIO",
  usage: "EINVAL",
  data: "EIO",
  "not-found": "EIO",
  ambiguous: "EIO",
  connect: "EIO",
  unavailable: "EIO",
  internal: "EIO",
  snapshot: "EIO",
  quiesce: "EIO",
  busy: "EBUSY",
  io: "EIO",
  leftover: "EIO",
  auth: "EIO",
  config: "EIO",
  refused: "EPERM",
  space: "ENOSPC",
  partial: "EIO",
  job: "EIO",
  signal: "EIO",
};

/** The only map from errors to errno; what is not a VmmountError is a bug and answers EIO. */
export function errnoOf(error: unknown): Errno {
  return error instanceof VmmountError ? ERRNO_BY_EXIT[error.exit] : "EIO";
}
