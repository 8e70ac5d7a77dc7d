import type { BlockSource } from "../../block-source.js";
import { type Bytes, KIB } from "../../units.js";
import type { ExtentMap } from "./extent-map.js";
import { checkRange, filtered, type PartialRead, readParts } from "./filter.js";

/** One request costs more than 64 KiB of zeros: a shorter hole between two data ranges is read with them. */
const HOLE_BYTES_MIN = 64 * KIB;

/** Answers holes with zeros, without I/O; what lies between holes is read in as few requests as possible. */
export function sparse(below: BlockSource, map: ExtentMap): BlockSource {
  if (map.size !== below.size) {
    throw new RangeError(`Cannot use an allocation map of ${map.size} bytes for a source of ${below.size} bytes`);
  }
  return filtered(below, {
    async read(into, at, options) {
      checkRange(below.size, at, into.length);
      options.signal.throwIfAborted();
      const runs = dataRuns(map, at, into.length);
      let filled = 0;
      for (const { start, end } of runs) {
        into.fill(0, filled, start);
        filled = end;
      }
      into.fill(0, filled);
      const parts = runs.map(({ start, end }): PartialRead => {
        return (signal) => below.read(into.subarray(start, end), (at + start) as Bytes, { signal });
      });
      await readParts(parts, options.signal);
    },
    async *extents(from, length) {
      // From memory: asking below again would cost requests and could only differ.
      checkRange(below.size, from, length);
      yield* map.pieces(from, length);
      await Promise.resolve();
    },
  });
}

/** The parts of `[at, at + length)` to read, as offsets from `at`; runs that a short hole divides are one. */
function dataRuns(map: ExtentMap, at: Bytes, length: number): { start: number; end: number }[] {
  const runs: { start: number; end: number }[] = [];
  for (const piece of map.pieces(at, length)) {
    if (piece.kind === "hole") continue;
    const start = piece.start - at;
    const last = runs.at(-1);
    if (last !== undefined && start - last.end < HOLE_BYTES_MIN) last.end = start + piece.length;
    else runs.push({ start, end: start + piece.length });
  }
  return runs;
}
