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

/** @param processor of this machine: numbers of another one do not stand beside its own */
export function readEarlierReport(text: string | undefined, processor: string | undefined): EarlierReport {
  const findings = findingsOf(text);
  if (text === undefined || !text.includes(`\n- processor: ${processor ?? ""}\n`)) {
    return { findings, tables: new Map(), targets: new Map() };
  }
  const begin = text.indexOf(FINDINGS_BEGIN);
  const end = text.indexOf(FINDINGS_END);
  // Findings may have headings and tables of their own.
  const before = begin < 0 ? text : text.slice(0, begin);
  const after = end < 0 ? text : text.slice(end);
  const tables = after.split(/^### /m).slice(1);
  const rows = before.split("\n").filter((line) => /^\| \S+: /.test(line));
  return {
    findings,
    tables: new Map(tables.map((table) => [table.slice(0, table.indexOf(":")), `### ${table.trim()}`])),
    targets: new Map(rows.map((row) => [row.split(" | ")[0]?.slice(2) ?? "", row])),
  };
}

function findingsOf(text: string | undefined): string | undefined {
  const begin = text?.indexOf(FINDINGS_BEGIN) ?? -1;
  const end = text?.indexOf(FINDINGS_END) ?? -1;
  if (text === undefined || begin < 0 || end < begin) return undefined;
  return text.slice(begin + FINDINGS_BEGIN.length, end).trim();
}
