// Reads tap's output: prints what failed and what was skipped, the coverage gate, and "N passed, N failed" as last line.
import { readFileSync } from "node:fs";

/** Lines of src that tests of all kinds together must reach, in per cent. */
const LINES_MIN = 90;
/** A failure's diagnostics are a diff or a stack; a screen of it is enough to start. */
const FAILURE_LINES_MAX = 60;

const [tapFile = "", failedChecksText = "0", tapStatusText = "0"] = process.argv.slice(2);
const failedChecks = Number(failedChecksText);
const text = readFileSync(tapFile, "utf8");
const lines = text.split("\n");

for (const [index, line] of lines.entries()) {
  if (/^\s*(not )?ok \d+.*# SKIP/i.test(line)) console.error(`skipped: ${line.trim()}`);
  else if (/^\s*not ok \d+/.test(line)) {
    const end = lines.findIndex((later, at) => at > index && /^\s*\.\.\.\s*$/.test(later));
    console.error(lines.slice(index, Math.min(end < 0 ? index + 1 : end + 1, index + FAILURE_LINES_MAX)).join("\n"));
  }
}

// tap's own totals: "# { total: 12, pass: 11, fail: 1, skip: 0 }"
const totals = [...text.matchAll(/^# \{ (.*) \}$/gm)].at(-1)?.[1] ?? "";
const count = (name) => Number(new RegExp(`\\b${name}: (\\d+)`).exec(totals)?.[1] ?? 0);
let failed = count("fail") + failedChecks;

let covered = 0;
try {
  covered = JSON.parse(readFileSync(".tap/report/coverage-summary.json", "utf8")).total.lines.pct;
} catch (error) {
  console.error(`Cannot read the coverage summary: ${error.message}`);
}
console.error(`coverage: ${covered} % of lines of src (at least ${LINES_MIN} %)`);
if (covered < LINES_MIN) failed++;
if (failedChecks > 0) console.error(`${failedChecks} of the static checks failed, see above`);
// A file that crashed may have printed no failing assertion of its own.
if (failed === 0 && (Number(tapStatusText) !== 0 || count("pass") === 0)) failed++;
console.log(`${count("pass")} passed, ${failed} failed`);
process.exitCode = failed === 0 ? 0 : 1;
