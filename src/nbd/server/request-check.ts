import { COMMAND, COMMAND_FLAG, NBD_ERROR, type NbdRequest } from "../protocol.js";
import { NbdServerError, type ServedDisk } from "./served-disk.js";

/** Flags that a command may have beside FUA, which is allowed with each. */
const FLAGS: Readonly<Record<number, number>> = {
  [COMMAND.WRITE_ZEROES]: COMMAND_FLAG.NO_HOLE,
  [COMMAND.BLOCK_STATUS]: COMMAND_FLAG.REQUEST_ONE,
};

/**
 * What a disk need not look at any more: rights, flags, ranges.
 * @throws NbdServerError: EPERM, EINVAL, EOVERFLOW, ENOSPC
 */
export function checkRequest(asked: NbdRequest, disk: ServedDisk): void {
  const { type, flags } = asked;
  const isWrite = type === COMMAND.WRITE || type === COMMAND.WRITE_ZEROES;
  if (isWrite && disk.write === undefined) throw new NbdServerError(NBD_ERROR.EPERM, "it is read-only");
  if ((flags & ~(COMMAND_FLAG.FUA | (FLAGS[type] ?? 0))) !== 0) throw invalid(`there are no flags ${flags}`);
  // Whoever asks for stable storage must not believe to have it.
  const wantsStable = type === COMMAND.FLUSH || (isWrite && (flags & COMMAND_FLAG.FUA) !== 0);
  if (wantsStable && disk.flush === undefined) throw invalid("it cannot be flushed");
  if (type !== COMMAND.FLUSH) checkRange(asked, disk);
}

function checkRange({ type, offset, length }: NbdRequest, { size, blockBytes }: ServedDisk): void {
  const { minimum, maximum } = blockBytes;
  const isData = type === COMMAND.READ || type === COMMAND.READ_SHARED || type === COMMAND.WRITE;
  if (isData && length > maximum) throw new NbdServerError(NBD_ERROR.EOVERFLOW, `${length} bytes are too many`);
  if (length === 0 || offset % minimum !== 0 || length % minimum !== 0) {
    throw invalid(`${length} bytes at ${offset} are no whole blocks of ${minimum}`);
  }
  if (offset + length > size) {
    const isWrite = type === COMMAND.WRITE || type === COMMAND.WRITE_ZEROES;
    const error = isWrite ? NBD_ERROR.ENOSPC : NBD_ERROR.EINVAL;
    throw new NbdServerError(error, `${length} bytes at ${offset} pass the end at ${size}`);
  }
}

export function invalid(message: string): NbdServerError {
  return new NbdServerError(NBD_ERROR.EINVAL, message);
}
