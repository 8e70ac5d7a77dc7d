import type { Bytes } from "../../units.js";
import type { AllocationExtent } from "../transmission.js";

/**
 * A disk that an NBD server shows. Offsets and lengths are multiples of `blockBytes.minimum` and lie inside: the server refuses
 * others. What they throw with a number of NBD_ERROR as `nbdError` goes to the client; anything else is EIO.
 */
export interface ServedDisk {
  /** As clients ask for it; one of a server's disks may be "", the default. */
  readonly name: string;
  readonly size: Bytes;
  readonly blockBytes: { readonly minimum: number; readonly preferred: number; readonly maximum: number };
  read(into: Uint8Array, at: Bytes): Promise<void>;
  /** Absent when the disk is read-only. */
  readonly write?: (data: Uint8Array, at: Bytes) => Promise<void>;
  /** Absent when the disk is read-only. */
  readonly flush?: () => Promise<void>;
  /**
   * From `at` on: at least one extent, at most `length` bytes. Absent when it is not known where data is.
   */
  readonly extents?: (at: Bytes, length: number) => Promise<readonly AllocationExtent[]>;
}
