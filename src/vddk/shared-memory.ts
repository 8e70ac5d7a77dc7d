import { closeSync, ftruncateSync } from "node:fs";
import koffi from "koffi";
import { errorChain } from "../errors.js";
import type { Logger } from "../log.js";

// memfd_create(2) and mmap(2), alike on every Linux that Node runs on.
const MFD_CLOEXEC = 1;
const PROT_READ_WRITE = 3;
const MAP_SHARED = 1;

export interface SharedMemory {
  /** To hand to a process that shall have it too. */
  readonly fd: number;
  readonly bytes: Uint8Array;
}

/**
 * Memory without a name, for this process and whoever gets its descriptor. It is mapped for the rest of the process: who holds a
 * view of it could not be stopped from using that. Pages take memory when they are first written to.
 * @throws Error where the kernel or a filter of system calls does not allow it
 */
function createSharedMemory(length: number): SharedMemory {
  // Not when the module is loaded: the VDDK host says first how large native stacks shall be.
  const create = koffi.load(null).func("int memfd_create(const char *name, unsigned int flags)");
  const fd = create("vmmount", MFD_CLOEXEC) as number;
  if (fd < 0) throw new Error(`memfd_create: errno ${koffi.errno()}`);
  try {
    ftruncateSync(fd, length);
    return { fd, bytes: mapSharedMemory(fd, length) };
  } catch (error) {
    closeSync(fd);
    throw error;
  }
}

/** @throws Error */
export function mapSharedMemory(fd: number, length: number): Uint8Array {
  const map = koffi
    .load(null)
    .func("void *mmap(void *address, size_t length, int protection, int flags, int fd, long offset)");
  const address = BigInt((map(null, length, PROT_READ_WRITE, MAP_SHARED, fd, 0) as bigint | number | null) ?? 0);
  if (BigInt.asIntN(64, address) === -1n) throw new Error(`mmap: errno ${koffi.errno()}`);
  return new Uint8Array(koffi.view(address, length));
}

/** Undefined, with a warning, where it cannot be had: everything then goes through the socket. */
export function sharedMemoryIfAny(length: number, logger: Logger): SharedMemory | undefined {
  try {
    return createSharedMemory(length);
  } catch (error) {
    logger.warn(`What VDDK reads is copied once more on its way: ${errorChain(error)}`);
    return undefined;
  }
}
