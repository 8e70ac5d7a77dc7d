import { mkdir, readFile, writeFile } from "node:fs/promises";
import { dirname } from "node:path";
import { CleanupStack } from "../../src/cleanup.js";
import { https } from "./cases/https.js";
import { localFiles } from "./cases/local-files.js";
import { manyMounts } from "./cases/many-mounts.js";
import { starting } from "./cases/starting.js";
import { thinDisk } from "./cases/thin-disk.js";
import { vddk } from "./cases/vddk.js";
import { xenArchive } from "./cases/xen-archive.js";
import { machineFacts } from "./machine.js";
import { type CaseId, type Options, parseOptions, USAGE } from "./options.js";
import { formatReport, type Report } from "./report.js";
import type { Table } from "./table.js";
import { verdicts } from "./targets.js";
import { setUp, type Workbench } from "./workbench.js";

const GROUPS: readonly { readonly cases: readonly CaseId[]; readonly run: (bench: Workbench) => Promise<Table[]> }[] = [
  { cases: ["e", "f"], run: https },
  { cases: ["a", "b", "c", "d"], run: localFiles },
  { cases: ["g"], run: thinDisk },
  { cases: ["h"], run: starting },
  { cases: ["i"], run: manyMounts },
  { cases: ["j"], run: vddk },
  { cases: ["k"], run: xenArchive },
];

async function main(args: readonly string[]): Promise<number> {
  let options: Options;
  try {
    options = parseOptions(args);
  } catch (error) {
    process.stderr.write(`bench: ${(error as Error).message}\n${USAGE}\n`);
    return 64;
  }
  const stop = new AbortController();
  for (const name of ["SIGINT", "SIGTERM", "SIGHUP"] as const) {
    // Not once: an impatient second Ctrl-C must not keep the clean-up from its work.
    process.on(name, () => {
      stop.abort(new Error(`Stopped by ${name}`));
    });
  }
  try {
    await benchmark(options, stop.signal);
    return 0;
  } catch (error) {
    process.stderr.write(`bench: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}\n`);
    return stop.signal.aborted ? 130 : 1;
  }
}

async function benchmark(options: Options, signal: AbortSignal): Promise<void> {
  await using cleanup = new CleanupStack();
  const bench = await setUp(options, cleanup, signal);
  const machine = await machineFacts(signal, bench.cacheDrop);
  const tables: Table[] = [];
  for (const { cases, run } of GROUPS) {
    if (!cases.some((letter) => options.cases.includes(letter))) continue;
    tables.push(...(await run(bench)));
    // After each group: a long run that is stopped has shown something.
    await write({ options, machine, tables, verdicts: verdicts(tables, options) });
  }
  bench.say(`the report is in ${options.reportPath}`);
}

async function write(report: Report): Promise<void> {
  const { reportPath } = report.options;
  await mkdir(dirname(reportPath), { recursive: true });
  const previous = await readFile(reportPath, "utf8").catch(() => undefined);
  await writeFile(reportPath, formatReport(report, previous));
  const numbers = report.options.quick ? ".cache/benchmarks-quick.json" : ".cache/benchmarks.json";
  await mkdir(dirname(numbers), { recursive: true });
  await writeFile(
    numbers,
    `${JSON.stringify({ ...report, machine: Object.fromEntries(report.machine) }, undefined, 2)}\n`,
  );
}

process.exitCode = await main(process.argv.slice(2));
