import { parseArgs } from "node:util";
import { GIB, MIB } from "../../src/units.js";

export const CASES = ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k"] as const;
export type CaseId = (typeof CASES)[number];

export interface Options {
  readonly cases: readonly CaseId[];
  readonly runs: number;
  readonly quick: boolean;
  /** Where the report goes; the numbers beside it are in .cache. */
  readonly reportPath: string;
  /** Data of the disk that is read from end to end; whole MiB. */
  readonly diskBytes: number;
  /** Size of the thin disk and the data in it. */
  readonly thinBytes: number;
  readonly thinDataBytes: number;
  /** Data of each of the ten machines. */
  readonly smallDiskBytes: number;
  /** A sequential read stops after this time, and counts with what it has read: slow peers must not take hours. */
  readonly readLimitMs: number;
  /** How long one job of random reads lasts. */
  readonly randomReadSeconds: number;
}

export const USAGE = `usage: npm run bench -- [--quick] [--case a,b,…] [--runs N] [--report FILE]

  --quick        little data and one run: shows that the benchmark works, its numbers mean nothing
  --case LETTERS only these cases (${CASES[0]} to ${CASES.at(-1) ?? ""})
  --runs N       runs per contender (5; 1 with --quick)
  --report FILE  the report (docs/BENCHMARKS.md; .cache/benchmarks-quick.md with --quick)`;

const RUNS_MAX = 100;

/** @throws Error with a sentence for the user */
export function parseOptions(args: readonly string[]): Options {
  const { values } = parseArgs({
    args: [...args],
    options: {
      quick: { type: "boolean", default: false },
      case: { type: "string" },
      runs: { type: "string" },
      report: { type: "string" },
    },
  });
  const { quick } = values;
  const runs = Number(values.runs ?? (quick ? 1 : 5));
  if (!Number.isInteger(runs) || runs < 1 || runs > RUNS_MAX) throw new Error(`--runs is from 1 to ${RUNS_MAX}`);
  return {
    cases: values.case === undefined ? CASES : parseCases(values.case),
    runs,
    quick,
    reportPath: values.report ?? (quick ? ".cache/benchmarks-quick.md" : "docs/BENCHMARKS.md"),
    diskBytes: quick ? 64 * MIB : GIB,
    thinBytes: quick ? 4 * GIB : 72 * GIB,
    thinDataBytes: quick ? 32 * MIB : GIB,
    smallDiskBytes: quick ? 8 * MIB : 128 * MIB,
    readLimitMs: quick ? 2_000 : 20_000,
    randomReadSeconds: quick ? 1 : 5,
  };
}

function parseCases(text: string): CaseId[] {
  const wanted = text.split(",").map((letter) => letter.trim());
  const unknown = wanted.find((letter) => !CASES.some((known) => known === letter));
  if (unknown !== undefined) throw new Error(`There is no case "${unknown}": they are ${CASES.join(", ")}`);
  return CASES.filter((letter) => wanted.includes(letter));
}
