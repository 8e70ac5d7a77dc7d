import type { CleanupStack } from "../../src/cleanup.js";
import { CleanupStack as Stack } from "../../src/cleanup.js";
import type { Sample } from "./contender.js";
import { spreadOf } from "./statistics.js";
import type { Workbench } from "./workbench.js";

/** The runs of one contender. */
export interface Series {
  readonly name: string;
  readonly samples: readonly Sample[];
  /** Why it could not be started, or failed. */
  readonly error: string | undefined;
}

/** One measurement with all its contenders. */
export interface Table {
  /** Case and variant: `a-cold`. */
  readonly id: string;
  readonly title: string;
  readonly unit: "MB/s" | "reads/s" | "s" | "MiB" | "bytes";
  /** The contender that the ratios compare; absent where there is nothing to compare. */
  readonly subject?: string;
  readonly note?: string;
  readonly series: readonly Series[];
}

export interface Entrant {
  readonly name: string;
  /** One run. @param owner ends what the run has started */
  run(owner: CleanupStack): Promise<Sample>;
}

/**
 * Runs every entrant as often as asked, in an order that moves on with every run, so that nobody always comes first.
 * An entrant that fails is out, with its error in the report.
 */
export async function alternate(bench: Workbench, title: string, entrants: readonly Entrant[]): Promise<Series[]> {
  const samples = entrants.map((): Sample[] => []);
  const errors = entrants.map((): string | undefined => undefined);
  for (let run = 0; run < bench.options.runs; run++) {
    for (let turn = 0; turn < entrants.length; turn++) {
      const index = (run + turn) % entrants.length;
      const entrant = entrants[index];
      if (entrant === undefined || errors[index] !== undefined) continue;
      bench.signal.throwIfAborted();
      try {
        await using owner = new Stack();
        samples[index]?.push(await entrant.run(owner));
      } catch (error) {
        bench.signal.throwIfAborted();
        errors[index] = error instanceof Error ? error.message : String(error);
        bench.say(`${title}: ${entrant.name}: ${errors[index]}`);
      }
    }
  }
  return entrants.map(({ name }, index) => {
    const runs = samples[index] ?? [];
    const median = spreadOf(runs.map(({ value }) => value))?.median;
    if (median !== undefined) bench.say(`${title}: ${name}: ${median.toPrecision(4)}`);
    return { name, samples: runs, error: errors[index] };
  });
}

export function seriesOf(table: Table | undefined, name: string): Series | undefined {
  return table?.series.find((series) => series.name === name);
}

export function values(series: Series | undefined): number[] {
  return (series?.samples ?? []).map(({ value }) => value);
}
