export interface Spread {
  readonly median: number;
  readonly min: number;
  readonly max: number;
}

/** @returns undefined for no values */
export function spreadOf(values: readonly number[]): Spread | undefined {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length / 2;
  const low = sorted[Math.ceil(middle) - 1];
  const high = sorted[Math.floor(middle)];
  const min = sorted[0];
  const max = sorted.at(-1);
  if (low === undefined || high === undefined || min === undefined || max === undefined) return undefined;
  return { median: (low + high) / 2, min, max };
}

/** Value by value, as the runs alternated: what disturbed one run disturbed both sides of its ratio. */
export function ratios(values: readonly number[], others: readonly number[]): number[] {
  return values.flatMap((value, run) => {
    const other = others[run];
    return other === undefined || other === 0 ? [] : [value / other];
  });
}
