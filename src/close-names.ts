/** Longest text compared: the distance costs length squared, and names longer than this are not typed by hand. */
const CHARS_MAX = 120;

/** Shorter texts are part of nearly everything. */
const CONTAINED_CHARS_MIN = 3;

/** Edit distance (insert, delete, replace, swap of neighbours), ignoring case. */
function distance(a: string, b: string): number {
  const rows: number[][] = [Array.from({ length: b.length + 1 }, (_, j) => j)];
  for (let i = 1; i <= a.length; i++) {
    const row = [i];
    for (let j = 1; j <= b.length; j++) {
      const above = rows[i - 1] ?? [];
      const cost = a[i - 1] === b[j - 1] ? 0 : 1;
      let best = Math.min((above[j] ?? 0) + 1, (row[j - 1] ?? 0) + 1, (above[j - 1] ?? 0) + cost);
      if (i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1]) {
        best = Math.min(best, (rows[i - 2]?.[j - 2] ?? 0) + 1);
      }
      row.push(best);
    }
    rows.push(row);
  }
  return rows[a.length]?.[b.length] ?? 0;
}

/**
 * The candidates that a mistyped `wanted` may have meant, best first: those that differ by a third of their letters at
 * most, or contain it.
 */
export function closeNames(wanted: string, candidates: readonly string[], most = 5): string[] {
  const target = wanted.toLowerCase().slice(0, CHARS_MAX);
  return [...new Set(candidates)]
    .map((name) => {
      const folded = name.toLowerCase().slice(0, CHARS_MAX);
      const contains =
        (target.length >= CONTAINED_CHARS_MIN && folded.includes(target)) ||
        (folded.length >= CONTAINED_CHARS_MIN && target.includes(folded));
      return { name, far: contains ? 0.5 : distance(target, folded), length: Math.max(folded.length, target.length) };
    })
    .filter(({ far, length }) => far < length && far <= Math.max(1, length / 3))
    .sort((a, b) => a.far - b.far || a.name.localeCompare(b.name))
    .slice(0, most)
    .map(({ name }) => name);
}
