import type { Bytes } from "../../units.js";
import type { AllocationExtent } from "../transmission.js";

/** A failure with the number of NBD_ERROR that the client shall see. */
export class NbdServerError extends Error {
  readonly nbdError: number;

  constructor(nbdError: number, message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = "NbdServerError";
    this.nbdError = nbdError;
  }
}

/**
 * A disk that an NBD server shows. Offsets and lengths are multiples of `blockBytes.minimum` and lie inside, and no request is
 * longer than `blockBytes.maximum`: the server refuses others. What is thrown as NbdServerError goes to the client with its
 * number; anything else is EIO.
 */
export interface ServedDisk {
  /** As clients ask for it; one of a server's disks may be "", the default. */
  readonly name: string;
  readonly size: Bytes;
  readonly blockBytes: { readonly minimum: number; readonly preferred: number; readonly maximum: number };
  read(into: Uint8Array, at: Bytes): Promise<void>;
  /** Absent when the disk is read-only. `data` is the disk's until the promise settles. */
  readonly write?: (data: Uint8Array, at: Bytes) => Promise<void>;
  /**
   * What was written before it was called, and answered, is on stable storage when it resolves: whichever client had written it.
   * Absent when the disk is read-only, or cannot.
   */
  readonly flush?: () => Promise<void>;
  /**
   * From `at` on: at least one extent, at most `length` bytes. Absent when it is not known where data is.
   */
  readonly extents?: (at: Bytes, length: number) => Promise<readonly AllocationExtent[]>;
}
