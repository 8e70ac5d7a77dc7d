import type { Extent } from "../block-source.js";
import { DiskIoError } from "../errors.js";
import { seekFile, SystemCallError } from "../libc.js";
import { bytes, type Bytes } from "../units.js";
import type { FlatSegment } from "./flat-files.js";
import { RANGES_MAX, RANGES_MS_MAX } from "./limits.js";

/**
 * Which parts of `[from, from + length)` hold data, as the file system tells by SEEK_DATA and SEEK_HOLE (lseek(2)). One
 * that cannot tell calls everything data; so does this where there are too many ranges, or where asking takes too long.
 */
export async function* fileExtents(
  segments: readonly FlatSegment[],
  from: Bytes,
  length: Bytes,
  signal: AbortSignal,
): AsyncGenerator<Extent, void, undefined> {
  const patience = { ranges: RANGES_MAX, until: performance.now() + RANGES_MS_MAX };
  const end = from + length;
  for (const segment of segments) {
    const start = Math.max(from, segment.start);
    const stop = Math.min(end, segment.start + segment.length);
    if (start >= stop) continue;
    if (segment.data === undefined) {
      yield { kind: "hole", start: bytes(start), length: bytes(stop - start) };
      continue;
    }
    // What must be added to a place of the disk to get the place in the file.
    const shift = segment.data.offset - segment.start;
    for (let at = start; at < stop;) {
      signal.throwIfAborted();
      const { kind, end: next } = await rangeAt(segment.data, at + shift, stop + shift, patience);
      yield { kind, start: bytes(at), length: bytes(next - shift - at) };
      at = next - shift;
    }
  }
}

interface Patience {
  ranges: number;
  readonly until: number;
}

/** The range that begins at `at`, cut at `stop`; both are places in the file. */
async function rangeAt(
  file: NonNullable<FlatSegment["data"]>,
  at: number,
  stop: number,
  patience: Patience,
): Promise<{ kind: Extent["kind"]; end: number }> {
  patience.ranges--;
  if (patience.ranges <= 0 || performance.now() > patience.until) return { kind: "data", end: stop };
  const data = await seek(file, at, "data");
  if (data === "unknown") return { kind: "data", end: stop };
  if (data === undefined || data >= stop) return { kind: "hole", end: stop };
  if (data > at) return { kind: "hole", end: data };
  const hole = await seek(file, at, "hole");
  if (hole === "unknown" || hole === undefined || hole <= at) return { kind: "data", end: stop };
  return { kind: "data", end: Math.min(hole, stop) };
}

async function seek(
  { handle, path }: NonNullable<FlatSegment["data"]>,
  at: number,
  whence: "data" | "hole",
): ReturnType<typeof seekFile> {
  try {
    return await seekFile(handle.fd, bytes(at), whence);
  } catch (error) {
    if (!(error instanceof SystemCallError)) throw error;
    throw new DiskIoError(`Cannot ask for the holes of "${path}": ${error.message}`, { cause: error, retryable: true });
  }
}
