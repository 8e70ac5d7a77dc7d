/** A byte range of a disk. */
export interface Range {
  readonly start: number;
  readonly length: number;
}

/** Sorted, disjoint, non-touching ranges from any ranges. */
export function mergeRanges(ranges: Iterable<Range>): Range[] {
  const sorted = [...ranges].filter((range) => range.length > 0).sort((a, b) => a.start - b.start);
  const merged: { start: number; length: number }[] = [];
  for (const range of sorted) {
    const last = merged.at(-1);
    if (last !== undefined && range.start <= last.start + last.length) {
      last.length = Math.max(last.length, range.start + range.length - last.start);
    } else {
      merged.push({ start: range.start, length: range.length });
    }
  }
  return merged;
}

/** Ranges widened to whole blocks, cut at `end`. */
export function alignRanges(ranges: Iterable<Range>, block: number, end: number): Range[] {
  const aligned = [...ranges].map(({ start, length }) => {
    const from = Math.floor(start / block) * block;
    const to = Math.min(Math.ceil((start + length) / block) * block, end);
    return { start: from, length: to - from };
  });
  return mergeRanges(aligned);
}

/** The parts of `ranges` inside `[from, to)`. */
export function clipRanges(ranges: Iterable<Range>, from: number, to: number): Range[] {
  const clipped: Range[] = [];
  for (const range of ranges) {
    const start = Math.max(range.start, from);
    const end = Math.min(range.start + range.length, to);
    if (end > start) clipped.push({ start, length: end - start });
  }
  return clipped;
}
