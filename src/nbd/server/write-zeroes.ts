import { bytes } from "../../units.js";
import type { ServedDisk } from "./served-disk.js";

/** As much as goes to a disk at a time, or less where it takes less; touched by nobody, so one is enough for all. */
const ZEROES = new Uint8Array(2 * 1024 * 1024);

/**
 * Writes zeros over a range of up to 4 GiB, in pieces that end where the disk's own requests would.
 * @param isWanted false when nobody waits any more: what is left is not written
 */
export async function writeZeroes(
  write: NonNullable<ServedDisk["write"]>,
  range: { readonly at: number; readonly length: number; readonly maximum: number },
  isWanted: () => boolean,
): Promise<void> {
  const step = Math.min(range.maximum, ZEROES.length);
  const end = range.at + range.length;
  for (let at = range.at; at < end && isWanted();) {
    const stop = Math.min(end, at - (at % step) + step);
    await write(ZEROES.subarray(0, stop - at), bytes(at));
    at = stop;
  }
}
