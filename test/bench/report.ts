import { GIB, MIB } from "../../src/units.js";
import type { Sample } from "./contender.js";
import { FINDINGS_BEGIN, FINDINGS_END, readEarlierReport, TARGETS_HEAD } from "./earlier-report.js";
import { type MachineFacts, originOf } from "./machine.js";
import type { Options } from "./options.js";
import { ratios, spreadOf } from "./statistics.js";
import { type Series, seriesOf, type Table, values } from "./table.js";
import type { Verdict } from "./targets.js";

const NO_FINDINGS = "Nothing has been written here yet.";

export interface Report {
  readonly options: Options;
  readonly machine: MachineFacts;
  readonly tables: readonly Table[];
  readonly verdicts: readonly Verdict[];
}

/** The whole report as Markdown. @param previous the report before it, whose findings stay, and the cases that did not run */
export function formatReport({ options, machine, tables, verdicts }: Report, previous: string | undefined): string {
  const earlier = readEarlierReport(previous);
  const origin = originOf(new Map(machine));
  const measured = `Measured ${origin}, ${options.runs} runs.`;
  const sections = new Map(earlier.tables);
  for (const table of tables) sections.set(table.id, formatTable(table, measured).join("\n"));
  const targets = new Map(earlier.targets);
  for (const { target, measured: value, result } of verdicts) {
    targets.set(target, `| ${target} | ${value} | ${result === "missed" ? "**missed**" : result} | ${origin} |`);
  }
  const quick = options.quick
    ? ["**A quick run: it shows that the benchmark works, its numbers mean nothing.**", ""]
    : [];
  return [
    "# Benchmarks",
    "",
    "Written by `npm run bench`; only the findings are by hand. All contenders of a table read the same data in the same run, one",
    "after the other in an order that moves on with every run, each started anew for each run. The facts here are of the last run;",
    "with `--case` it measured only some of the tables. Each table and each target says when, from which commit and on which processor it",
    "was measured: those of different processors do not compare, the ratios within one do.",
    "",
    ...quick,
    ...machine.map(([name, value]) => `- ${name}: ${value}`),
    `- runs per contender: ${options.runs}; the full disk has ${options.diskBytes / MIB} MiB of noise`,
    "",
    "## Targets",
    "",
    TARGETS_HEAD,
    ...targets.values(),
    "",
    "## Findings",
    "",
    FINDINGS_BEGIN,
    earlier.findings ?? NO_FINDINGS,
    FINDINGS_END,
    "",
    "## Numbers",
    "",
    "Medians, with the least and the most of all runs. Ratios compare vmmount with a contender run by run; above 1 vmmount is faster.",
    "CPU is user and system time of the serving processes for each 10^9 bytes, without the reader and the server; memory is the most",
    "that these processes ever had resident (VmHWM). A peer that could not be started stands there with its error.",
    "",
    ...[...sections.keys()].toSorted().flatMap((id) => [sections.get(id) ?? "", ""]),
  ].join("\n");
}

/** @param measured when, and on what */
function formatTable(table: Table, measured: string): string[] {
  const { id, title, unit, subject, note, series } = table;
  const columns = [
    { head: unit === "bytes" ? "GiB" : unit, cell: (one: Series) => spreadCell(values(one), unit) },
    ...(subject === undefined
      ? []
      : [{ head: `${subject} : it`, cell: (one: Series) => ratioCell(table, subject, one) }]),
    ...(has(series, "cpuSecondsPerGb")
      ? [{ head: "CPU s/GB", cell: (one: Series) => costCell(one, "cpuSecondsPerGb", 1, 2) }]
      : []),
    ...(has(series, "peakRssBytes")
      ? [{ head: "peak MiB", cell: (one: Series) => costCell(one, "peakRssBytes", MIB, 0) }]
      : []),
  ];
  return [
    `### ${id}: ${title}`,
    "",
    note === undefined ? measured : `${measured} ${note}`,
    "",
    `| | ${columns.map(({ head }) => head).join(" | ")} |`,
    `|---${"|---:".repeat(columns.length)}|`,
    ...series.map((one) =>
      one.samples.length === 0
        ? `| ${one.name} | ${errorText(one)}${" |".repeat(columns.length)}`
        : `| ${one.name} | ${columns.map(({ cell }) => cell(one)).join(" | ")} |`,
    ),
    ...series
      .filter(({ samples, error }) => samples.length > 0 && error !== undefined)
      .flatMap((one) => ["", `${one.name} failed after ${one.samples.length} runs: ${errorText(one)}`]),
  ];
}

function errorText({ error }: Series): string {
  return (error ?? "did not run").replace(/\s+/g, " ").replaceAll("|", "\\|");
}

function has(series: readonly Series[], field: keyof Sample): boolean {
  return series.some(({ samples }) => samples.some((sample) => sample[field] !== undefined));
}

function spreadCell(found: readonly number[], unit: Table["unit"]): string {
  const spread = spreadOf(found);
  if (spread === undefined) return "";
  const show = (value: number): string => {
    if (unit === "bytes") return (value / GIB).toFixed(3);
    return unit === "s" ? value.toFixed(2) : value.toFixed(0);
  };
  return `${show(spread.median)} (${show(spread.min)}–${show(spread.max)})`;
}

function ratioCell(table: Table, subject: string, one: Series): string {
  if (one.name === subject) return "";
  const spread = spreadOf(ratios(values(seriesOf(table, subject)), values(one)));
  if (spread === undefined) return "";
  return `${spread.median.toFixed(2)} (${spread.min.toFixed(2)}–${spread.max.toFixed(2)})`;
}

function costCell(
  { samples }: Series,
  field: "cpuSecondsPerGb" | "peakRssBytes",
  unit: number,
  digits: number,
): string {
  const found = samples.flatMap((sample) => sample[field] ?? []);
  const spread = spreadOf(found);
  if (spread === undefined) return "–";
  // A peak is a peak; what a run costs is a median.
  return ((field === "peakRssBytes" ? spread.max : spread.median) / unit).toFixed(digits);
}
