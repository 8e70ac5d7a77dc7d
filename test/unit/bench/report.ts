import { readFile } from "node:fs/promises";
import t from "tap";
import { MIB } from "../../../src/units.js";
import { NBDKIT_HOP, VDDK_ALONE, VDDK_HOP, VDDK_MOUNT } from "../../bench/cases/vddk.js";
import { parseOptions } from "../../bench/options.js";
import { formatReport } from "../../bench/report.js";
import { ratios, spreadOf } from "../../bench/statistics.js";
import type { Table } from "../../bench/table.js";
import { verdicts } from "../../bench/targets.js";

const series = (name: string, values: number[], error?: string) => ({
  name,
  samples: values.map((value) => ({ value })),
  error,
});

const TABLES: readonly Table[] = [
  {
    id: "e",
    title: "https",
    unit: "MB/s",
    subject: "vmmount",
    series: [
      series("vmmount", [100, 300, 200]),
      series("raw range reader", [100, 400, 250]),
      series("nbdkit curl + nbdfuse", [], "nbdkit has ended: a|b"),
    ],
  },
];
const OPTIONS = parseOptions(["--case", "e", "--runs", "3"]);

void t.test("medians and ratios", (t) => {
  t.same(spreadOf([3, 1, 2]), { median: 2, min: 1, max: 3 });
  t.same(spreadOf([4, 1, 2, 3]), { median: 2.5, min: 1, max: 4 });
  t.equal(spreadOf([]), undefined);
  t.same(ratios([1, 9, 5], [2, 3]), [0.5, 3], "run by run, as far as both go");
  t.end();
});

void t.test("targets: met, missed, not measured", (t) => {
  const found = verdicts(TABLES, OPTIONS);
  const result = (words: string) => found.find(({ target }) => target.includes(words));
  t.match(result("0.8 x the raw range reader"), { measured: "0.800 x", result: "met" });
  t.match(result("2 x nbdkit"), { result: "not measured" }, "a peer that did not run proves nothing");
  const slower: Table = { ...TABLES[0]!, series: [series("vmmount", [79]), series("raw range reader", [100])] };
  t.match(verdicts([slower], OPTIONS)[0], { measured: "0.790 x", result: "missed" });
  t.end();
});

void t.test("targets of VDDK: speed at least, processor time at most", (t) => {
  const options = parseOptions(["--case", "j"]);
  const at = (id: string, ours: readonly [string, number], theirs: readonly [string, number]): Table => ({
    id,
    title: id,
    unit: "s",
    series: [series(ours[0], [ours[1]]), series(theirs[0], [theirs[1]])],
  });
  const found = verdicts(
    [
      at("j-1ms", [VDDK_MOUNT, 84], [VDDK_ALONE, 100]),
      at("j-10ms", [VDDK_MOUNT, 85], [VDDK_ALONE, 100]),
      at("j-hop", [VDDK_HOP, 1.1], [NBDKIT_HOP, 1]),
    ],
    options,
  );
  t.strictSame(
    found.slice(0, 3).map(({ result }) => result),
    ["missed", "met", "met"],
  );
  const dear = at("j-hop", [VDDK_HOP, 1.2], [NBDKIT_HOP, 1]);
  t.equal(verdicts([dear], options).find(({ target }) => target.includes("hop"))?.result, "missed");
  t.end();
});

void t.test("the target for memory is over the daemons of every case, and over no peer", (t) => {
  const options = parseOptions([]);
  const peak = (id: string, name: string, mebibytes: number): Table => ({
    id,
    title: id,
    unit: "s",
    series: [{ name, samples: [{ value: 1, peakRssBytes: mebibytes * MIB }], error: undefined }],
  });
  const small = ["e", "g", "i"].map((id) => peak(id, "vmmount", 300));
  const judged = (table: Table) =>
    verdicts([...small, table], options).find(({ target }) => target.startsWith("memory"));
  t.match(judged(peak("e", "raw range reader", 999)), { measured: "300 of 440 MiB", result: "met" });
  t.match(judged(peak("g", "cp of the plain disk", 441)), { measured: "441 of 440 MiB", result: "missed" });
  t.match(judged(peak("i", "10 mounts", 442)), { measured: "442 of 440 MiB", result: "missed" });
  t.match(judged(peak("j-1ms", VDDK_MOUNT, 443)), { measured: "443 of 440 MiB", result: "missed" });
  t.end();
});

void t.test("the report keeps the findings, and names every peer", (t) => {
  const report = { options: OPTIONS, machine: [], tables: TABLES, verdicts: verdicts(TABLES, OPTIONS) };
  const first = formatReport(report, undefined);
  t.match(first, "| nbdkit curl + nbdfuse | nbdkit has ended: a\\|b |");
  t.match(first, "| vmmount | 200 (100–300) |  |");
  t.match(first, "| raw range reader | 250 (100–400) | 0.80 (0.75–1.00) |");
  const written = first.replace("Nothing has been written here yet.", "The line was slow.\n\nReally.");
  t.equal(formatReport(report, written), written);
  t.end();
});

void t.test("a run of some cases leaves the numbers of the others", (t) => {
  const machine = (date: string, processor: string) =>
    [
      ["date", date],
      ["commit", "abc"],
      ["processor", processor],
    ] as const;
  const slow = { id: "h", title: "start", unit: "s", series: [series("vmmount", [3])] } as const;
  const before = formatReport(
    {
      options: OPTIONS,
      machine: machine("monday", "fast"),
      tables: [...TABLES, slow],
      verdicts: verdicts(TABLES, OPTIONS),
    },
    undefined,
  );
  const options = parseOptions(["--case", "h", "--runs", "2"]);
  const tables = [{ ...slow, series: [series("vmmount", [1])] }];
  const report = { options, machine: machine("friday", "fast"), tables, verdicts: verdicts(tables, options) };
  const after = formatReport(report, before);
  t.match(after, "### e: https\n\nMeasured monday, commit abc, on fast, 3 runs.\n\n| | MB/s |");
  t.match(
    after,
    "### h: start\n\nMeasured friday, commit abc, on fast, 2 runs.\n\n| | s |\n|---|---:|\n| vmmount | 1.00 (1.00–1.00) |",
  );
  t.match(after, "| e: at least 0.8 x the raw range reader | 0.800 x | met | monday, commit abc, on fast |\n");
  t.match(after, "| h: idle daemon below 120 MB |  | not measured | friday, commit abc, on fast |\n");
  t.equal(formatReport(report, after), after, "and once more it is the same");
  const elsewhere = formatReport({ ...report, machine: machine("friday", "Slow(R) CPU @ 1.00GHz, 2 cores") }, before);
  t.match(elsewhere, "- processor: Slow(R) CPU @ 1.00GHz, 2 cores\n");
  t.match(elsewhere, "### e: https\n\nMeasured monday, commit abc, on fast, 3 runs.\n");
  t.match(elsewhere, "### h: start\n\nMeasured friday, commit abc, on Slow, 2 cores, 2 runs.\n");
  t.match(elsewhere, "| e: at least 0.8 x the raw range reader | 0.800 x | met | monday, commit abc, on fast |\n");
  t.match(elsewhere, "not measured | friday, commit abc, on Slow, 2 cores |\n");
  t.end();
});

void t.test("numbers from before reports said of which machine each is get that of their report", (t) => {
  const tables = [{ id: "h", title: "start", unit: "s", series: [series("vmmount", [1])] }] as const;
  const machine = [["date", "friday"] as const, ["commit", "def"] as const, ["processor", "slow"] as const];
  const before = [
    "- date: monday",
    "- commit: abc",
    "- processor: Fast(TM), 2 cores",
    "",
    "| target | measured | |",
    "|---|---|---|",
    "| e: all of it | 1 x | **missed** |",
    "",
    "### e: https",
    "",
    "Measured sunday, commit abb, 3 runs. A note, 5 runs.",
    "",
  ].join("\n");
  const after = formatReport({ options: OPTIONS, machine, tables, verdicts: [] }, before);
  t.match(after, "| e: all of it | 1 x | **missed** | monday, commit abc, on Fast, 2 cores |\n");
  t.match(
    after,
    "### e: https\n\nMeasured sunday, commit abb, on Fast, 2 cores, 3 runs. A note, 5 runs.\n\n### h: start",
  );
  t.end();
});

void t.test("nothing of the report in docs is lost by a run of one case", async (t) => {
  const committed = await readFile("docs/BENCHMARKS.md", "utf8");
  const options = parseOptions(["--case", "j"]);
  const after = formatReport({ options, machine: [], tables: [], verdicts: [] }, committed);
  const titles = (text: string) => text.match(/^### .*/gm);
  const targets = (text: string) => text.match(/^\| \S+: [^|]*\|[^|]*\|[^|]*\|/gm);
  t.ok((titles(committed)?.length ?? 0) > 15);
  t.strictSame(titles(after), titles(committed));
  t.strictSame(targets(after), targets(committed));
  t.equal(after.match(/^Measured .*, on \S.* cores, \d+ runs\./gm)?.length, titles(committed)?.length);
  t.equal(after.match(/^\| \S+: .*, on \S.* cores \|$/gm)?.length, targets(committed)?.length);
});

void t.test("options", (t) => {
  t.same(OPTIONS.cases, ["e"]);
  t.throws(() => parseOptions(["--case", "e,x"]), /no case "x"/);
  t.throws(() => parseOptions(["--runs", "0"]), /from 1 to/);
  t.end();
});
