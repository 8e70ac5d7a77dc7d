import { NBD_ERROR } from "../nbd/protocol.js";
import type { VixError } from "./vix-error.js";

const EXTRA_IS_ERRNO = 4;
const ENOSPC = 28;

/** Codes for which the protocol has a number of its own; VIX_E_ of VMware's vix.h. */
const TOLD: Readonly<Record<number, number>> = {
  // OUT_OF_MEMORY, INVALID_ARG, NOT_SUPPORTED
  2: NBD_ERROR.ENOMEM,
  3: NBD_ERROR.EINVAL,
  6: NBD_ERROR.ENOTSUP,
  // DISK_FULL
  8: NBD_ERROR.ENOSPC,
  // FILE_READ_ONLY, FILE_ACCESS_ERROR, HOST_USER_PERMISSIONS
  11: NBD_ERROR.EPERM,
  13: NBD_ERROR.EPERM,
  3014: NBD_ERROR.EPERM,
  // DISK_INVAL, DISK_OUTOFRANGE
  16000: NBD_ERROR.EINVAL,
  16007: NBD_ERROR.ENOSPC,
};

/** What a client that writes is told of a failure of the library's: it treats a full disk differently from a broken one. */
export function toldError({ code, extra, extraKind }: VixError): number {
  if (extraKind === EXTRA_IS_ERRNO && extra === ENOSPC) return NBD_ERROR.ENOSPC;
  return TOLD[code] ?? NBD_ERROR.EIO;
}
