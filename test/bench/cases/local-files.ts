import { CleanupStack } from "../../../src/cleanup.js";
import type { Contender, Sample } from "../contender.js";
import { mustEqual, rateAndCost } from "../measure.js";
import { dropPageCache } from "../page-cache.js";
import { bareFile } from "../peers/bare-file.js";
import { nbdkitFile } from "../peers/nbdkit.js";
import { qemuStorageDaemon } from "../peers/qemu-storage-daemon.js";
import { vmdkmount } from "../peers/vmdkmount.js";
import { localHost, localVmmounts, VMMOUNT } from "../peers/vmmount.js";
import { peakRssBytes } from "../process-cost.js";
import { readRandomly } from "../random-read.js";
import { type Reading, readInParallel, readSequentially } from "../sequential-read.js";
import { alternate, type Table } from "../table.js";
import type { Workbench } from "../workbench.js";

const PARALLEL_READERS = 4;

type Cache = "cold" | "warm";

/** Cases a to d: a flat image on this machine's own disk. */
export async function localFiles(bench: Workbench): Promise<Table[]> {
  await using owner = new CleanupStack();
  const host = await localHost(bench, owner);
  const contenders = [
    ...localVmmounts(bench, host),
    qemuStorageDaemon(bench),
    nbdkitFile(bench),
    vmdkmount(bench),
    bareFile(bench.site.denseFlat),
  ];
  const { cases } = bench.options;
  const tables: Table[] = [];
  if (cases.includes("a")) {
    tables.push(await sequential(bench, contenders, "a-cold", "cold", "buffered"));
    tables.push(await sequential(bench, contenders, "a-warm", "warm", "buffered"));
  }
  if (cases.includes("b")) tables.push(await sequential(bench, contenders, "b", "cold", "direct"));
  if (cases.includes("c")) {
    tables.push(await random(bench, contenders, "c-buffered", 1, "buffered"));
    tables.push(await random(bench, contenders, "c-direct-1", 1, "direct"));
    tables.push(await random(bench, contenders, "c-direct-16", 16, "direct"));
  }
  if (cases.includes("d")) {
    tables.push(await parallel(bench, contenders, "d-cold", "cold"));
    tables.push(await parallel(bench, contenders, "d-warm", "warm"));
  }
  return tables;
}

type Measure = (path: string, pids: readonly number[]) => Promise<Sample>;

/** Every contender, started anew for each run, with the page cache emptied or filled before. */
async function race(
  bench: Workbench,
  contenders: readonly Contender[],
  cache: Cache,
  table: Omit<Table, "series" | "subject">,
  measure: Measure,
): Promise<Table> {
  const { site, options, cacheDrop, signal } = bench;
  const run = async (contender: Contender, owner: CleanupStack): Promise<Sample> => {
    const started = await contender.start(owner);
    await dropPageCache(cacheDrop, [site.denseFlat, started.path], signal);
    if (cache === "warm") await readSequentially(started.path, reading(bench, "buffered"));
    const sample = await measure(started.path, started.pids);
    await mustEqual(started, site.denseFlat, options.diskBytes);
    return sample;
  };
  const entrants = contenders.map((one) => ({ name: one.name, run: (owner: CleanupStack) => run(one, owner) }));
  return { ...table, subject: VMMOUNT, series: await alternate(bench, table.id, entrants) };
}

function reading(bench: Workbench, access: Reading["access"]): Reading {
  const { options, signal } = bench;
  return { bytes: options.diskBytes, access, limitMs: options.readLimitMs, signal };
}

function sequential(
  bench: Workbench,
  contenders: readonly Contender[],
  id: string,
  cache: Cache,
  access: Reading["access"],
): Promise<Table> {
  const how = access === "direct" ? "O_DIRECT" : "buffered";
  const title = `local flat image, sequential reads of 1 MiB, ${how}, ${cache} page cache`;
  return race(bench, contenders, cache, { id, title, unit: "MB/s" }, (path, pids) =>
    rateAndCost(pids, () => readSequentially(path, reading(bench, access))),
  );
}

function parallel(bench: Workbench, contenders: readonly Contender[], id: string, cache: Cache): Promise<Table> {
  const title = `local flat image, ${PARALLEL_READERS} sequential readers at once, each in its quarter, buffered, ${cache} page cache`;
  return race(bench, contenders, cache, { id, title, unit: "MB/s" }, (path, pids) =>
    rateAndCost(pids, () => readInParallel(path, PARALLEL_READERS, reading(bench, "buffered"))),
  );
}

function random(
  bench: Workbench,
  contenders: readonly Contender[],
  id: string,
  depth: number,
  access: Reading["access"],
): Promise<Table> {
  const { signal, options } = bench;
  const engine = access === "direct" ? `O_DIRECT, libaio, queue depth ${depth}` : "buffered, psync";
  const title = `local flat image, random reads of 4 KiB (fio), ${engine}, cold page cache`;
  return race(bench, contenders, "cold", { id, title, unit: "reads/s" }, async (path, pids) => {
    const value = await readRandomly(path, { depth, access, seconds: options.randomReadSeconds, signal });
    return { value, ...(pids.length > 0 && { peakRssBytes: await peakRssBytes(pids) }) };
  });
}
