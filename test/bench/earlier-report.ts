import { originOf } from "./machine.js";

/** What an earlier report has that a run of some cases does not measure anew; Markdown as it was written. */
export interface EarlierReport {
  readonly findings: string | undefined;
  /** By id. */
  readonly tables: ReadonlyMap<string, string>;
  /** Rows of the table of targets, by their target. */
  readonly targets: ReadonlyMap<string, string>;
}

export const FINDINGS_BEGIN = "<!-- findings: what stands between these marks is kept by the next run -->";
export const FINDINGS_END = "<!-- end of findings -->";

/** How the table of targets begins; in reports before tables of several machines stood together it did not say of which. */
export const TARGETS_HEAD = "| target | measured | | when and on what |\n|---|---|---|---|";
const TARGETS_HEAD_BEFORE = "| target | measured | |\n";
const MEASURED_BEFORE = /^(Measured [^,]*, commit [^,]*), (\d+ runs\.)/m;

/** Its numbers stay whatever machine they are of: each says so, and where it does not yet the facts at the top are put to it. */
export function readEarlierReport(text: string | undefined): EarlierReport {
  const findings = findingsOf(text);
  if (text === undefined) return { findings, tables: new Map(), targets: new Map() };
  const begin = text.indexOf(FINDINGS_BEGIN);
  const end = text.indexOf(FINDINGS_END);
  // Findings may have headings and tables of their own.
  const before = begin < 0 ? text : text.slice(0, begin);
  const after = end < 0 ? text : text.slice(end);
  const origin = originOf(factsOf(before));
  const on = origin.slice(origin.indexOf(", on "));
  const tables = after
    .split(/^### /m)
    .slice(1)
    .map((table) => table.replace(MEASURED_BEFORE, (_, when: string, runs: string) => `${when}${on}, ${runs}`));
  const withOrigin = (row: string): string => (before.includes(TARGETS_HEAD_BEFORE) ? `${row} ${origin} |` : row);
  const rows = before.split("\n").filter((line) => /^\| \S+: /.test(line));
  return {
    findings,
    tables: new Map(tables.map((table) => [table.slice(0, table.indexOf(":")), `### ${table.trim()}`])),
    targets: new Map(rows.map((row) => [row.split(" | ")[0]?.slice(2) ?? "", withOrigin(row)])),
  };
}

function factsOf(head: string): ReadonlyMap<string, string> {
  return new Map(
    [...head.matchAll(/^- (date|commit|processor): (.*)$/gm)].map(([, name = "", value = ""]) => [name, value]),
  );
}

function findingsOf(text: string | undefined): string | undefined {
  const begin = text?.indexOf(FINDINGS_BEGIN) ?? -1;
  const end = text?.indexOf(FINDINGS_END) ?? -1;
  if (text === undefined || begin < 0 || end < begin) return undefined;
  return text.slice(begin + FINDINGS_BEGIN.length, end).trim();
}
