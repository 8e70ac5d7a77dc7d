import { CleanupStack } from "../../../src/cleanup.js";
import { ProxyHost } from "../../fixtures/host/proxy-host.js";
import type { Contender } from "../contender.js";
import { type RunningLab, startBenchLab } from "../lab-address.js";
import { mustEqual, rateAndCost } from "../measure.js";
import { CURL, readWithCurl } from "../peers/curl.js";
import { nbdkitCurl } from "../peers/nbdkit.js";
import { RAW_RANGES, readRawRanges } from "../peers/raw-ranges.js";
import { VMMOUNT, vmmount } from "../peers/vmmount.js";
import { readSequentially } from "../sequential-read.js";
import { alternate, type Entrant, type Table } from "../table.js";
import { ownerOf, type Workbench } from "../workbench.js";

/** What a gigabit line carries. */
export const CAP_BYTES_PER_SECOND = 125_000_000;
const LATENCIES_MS = [5, 20] as const;

/** Cases e and f: the datastore over https, at once and over a line that is long and narrow. */
export async function https(bench: Workbench): Promise<Table[]> {
  await using owner = new CleanupStack();
  const running = await startBenchLab(bench, owner);
  const host = await ProxyHost.make(ownerOf(owner), running.lab.server);
  const entrants = entrantsFor(bench, running, host);
  const { cases } = bench.options;
  const tables: Table[] = [];
  if (cases.includes("e")) {
    tables.push({
      id: "e",
      title: "https on the loopback interface, sequential reads of 1 MiB",
      unit: "MB/s",
      subject: VMMOUNT,
      note: "The server's own files stay in the page cache: this is about the way, not about the server's disk.",
      series: await alternate(bench, "e", entrants),
    });
  }
  if (cases.includes("f")) for (const ms of LATENCIES_MS) tables.push(await overLine(bench, running, entrants, ms));
  return tables;
}

async function overLine(bench: Workbench, { lab }: RunningLab, entrants: readonly Entrant[], ms: number) {
  const match = { method: "GET", path: "/folder/" };
  const line = { kind: "bandwidth", bytesPerSecond: CAP_BYTES_PER_SECOND, scope: "line" } as const;
  await lab.load({
    rules: [
      { match, action: { kind: "delay", ms } },
      { match, action: line },
    ],
  });
  try {
    const id = `f-${ms}ms`;
    const title = `https, every GET answered ${ms} ms late, all together at most 125 MB/s`;
    const series = await alternate(bench, id, entrants);
    return { id, title, unit: "MB/s", subject: VMMOUNT, series } satisfies Table;
  } finally {
    await lab.load({ rules: [] });
  }
}

function entrantsFor(bench: Workbench, { address }: RunningLab, host: ProxyHost): Entrant[] {
  const { site, options, signal } = bench;
  const throughFile = (contender: Contender): Entrant => ({
    name: contender.name,
    run: async (owner) => {
      const started = await contender.start(owner);
      const reading = { bytes: options.diskBytes, access: "buffered", limitMs: options.readLimitMs, signal } as const;
      const sample = await rateAndCost(started.pids, () => readSequentially(started.path, reading));
      await mustEqual(started, site.local.flat, options.diskBytes);
      return sample;
    },
  });
  return [
    throughFile(vmmount(VMMOUNT, host, { locator: `/dc1/${site.dense}` })),
    throughFile(nbdkitCurl(bench, address, [])),
    throughFile(nbdkitCurl(bench, address, ["readahead"])),
    { name: RAW_RANGES, run: () => readRawRanges(bench, address) },
    { name: CURL, run: () => readWithCurl(bench, address) },
  ];
}
