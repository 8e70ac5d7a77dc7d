import { CleanupStack } from "../../../src/cleanup.js";
import type { Contender, Sample } from "../contender.js";
import { mustEqual, rateAndCost } from "../measure.js";
import { dropPageCache } from "../page-cache.js";
import { bareFile } from "../peers/bare-file.js";
import { nbdkitFile } from "../peers/nbdkit.js";
import { unmountLater } from "../peers/mounted.js";
import { qemuStorageDaemon } from "../peers/qemu-storage-daemon.js";
import { vmdkmount } from "../peers/vmdkmount.js";
import { localHost, localVmmounts, VMMOUNT } from "../peers/vmmount.js";
import { peakRssBytes } from "../process-cost.js";
import { mustRun } from "../programs.js";
import { readRandomly } from "../random-read.js";
import { type Reading, readInParallel, readSequentially } from "../sequential-read.js";
import { copyMachine, type LocalMachine } from "../site.js";
import { alternate, type Table } from "../table.js";
import type { Workbench } from "../workbench.js";

const PARALLEL_READERS = 4;

/** Where the bytes are when a run begins: on the disk, in the page cache, or in a file system that has no disk. */
type Place = "cold" | "warm" | "memory";
const PLACES: Readonly<Record<Place, string>> = {
  cold: "cold page cache",
  warm: "file in the page cache, mount not yet read",
  memory: "file on tmpfs",
};

/** A machine and everything that reads it. */
interface Field {
  readonly machine: LocalMachine;
  readonly contenders: readonly Contender[];
}

/** Cases a to d: a flat image on this machine's own disk, and for O_DIRECT in its memory too. */
export async function localFiles(bench: Workbench): Promise<Table[]> {
  await using owner = new CleanupStack();
  const host = await localHost(bench, owner);
  const fieldOf = (machine: LocalMachine): Field => ({
    machine,
    contenders: [
      ...localVmmounts(host, machine),
      qemuStorageDaemon(bench, machine),
      nbdkitFile(bench, machine),
      vmdkmount(bench, machine),
      bareFile(machine.flat),
    ],
  });
  const onDisk = fieldOf(bench.site.local);
  const { cases } = bench.options;
  const tables: Table[] = [];
  if (cases.includes("a")) {
    tables.push(await sequential(bench, onDisk, "a-cold", "cold", "buffered"));
    tables.push(await sequential(bench, onDisk, "a-warm", "warm", "buffered"));
  }
  if (cases.includes("b")) {
    tables.push(await sequential(bench, onDisk, "b-cold", "cold", "direct"));
    await using memory = new CleanupStack();
    const inMemory = fieldOf(await copyMachine(bench.site.local, await memoryFolder(bench, memory)));
    tables.push(await sequential(bench, inMemory, "b-memory", "memory", "direct"));
  }
  if (cases.includes("c")) {
    tables.push(await random(bench, onDisk, "c-buffered", 1, "buffered"));
    tables.push(await random(bench, onDisk, "c-direct-1", 1, "direct"));
    tables.push(await random(bench, onDisk, "c-direct-16", 16, "direct"));
  }
  if (cases.includes("d")) {
    tables.push(await parallel(bench, onDisk, "d-cold", "cold"));
    tables.push(await parallel(bench, onDisk, "d-warm", "warm"));
  }
  return tables;
}

/** A file system in memory: with O_DIRECT a disk is as fast for everybody, and hides what the way to it costs. */
async function memoryFolder(bench: Workbench, owner: CleanupStack): Promise<string> {
  const folder = await bench.folder("memory");
  await mustRun("mount", ["-t", "tmpfs", "vmm-bench", folder], { signal: bench.signal });
  unmountLater(owner, folder);
  return folder;
}

type Measure = (path: string, pids: readonly number[]) => Promise<Sample>;

/** Every contender, started anew for each run, with the page cache emptied or filled before. */
async function race(
  bench: Workbench,
  { machine, contenders }: Field,
  place: Place,
  table: Omit<Table, "series" | "subject">,
  measure: Measure,
): Promise<Table> {
  const { options, cacheDrop, signal } = bench;
  const run = async (contender: Contender, owner: CleanupStack): Promise<Sample> => {
    const started = await contender.start(owner);
    await dropPageCache(cacheDrop, [machine.flat, started.path], signal);
    // Past the mount: the kernel may keep what it has read through it, and then measures nothing but itself.
    if (place === "warm") await readSequentially(machine.flat, reading(bench, "buffered"));
    const sample = await measure(started.path, started.pids);
    await mustEqual(started, machine.flat, options.diskBytes);
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
  field: Field,
  id: string,
  place: Place,
  access: Reading["access"],
): Promise<Table> {
  const how = access === "direct" ? "O_DIRECT" : "buffered";
  const title = `local flat image, sequential reads of 1 MiB, ${how}, ${PLACES[place]}`;
  return race(bench, field, place, { id, title, unit: "MB/s" }, (path, pids) =>
    rateAndCost(pids, () => readSequentially(path, reading(bench, access))),
  );
}

function parallel(bench: Workbench, field: Field, id: string, place: Place): Promise<Table> {
  const title = `local flat image, ${PARALLEL_READERS} sequential readers at once, each in its quarter, buffered, ${PLACES[place]}`;
  return race(bench, field, place, { id, title, unit: "MB/s" }, (path, pids) =>
    rateAndCost(pids, () => readInParallel(path, PARALLEL_READERS, reading(bench, "buffered"))),
  );
}

function random(bench: Workbench, field: Field, id: string, depth: number, access: Reading["access"]): Promise<Table> {
  const { signal, options } = bench;
  const engine = access === "direct" ? `O_DIRECT, libaio, queue depth ${depth}` : "buffered, psync";
  const title = `local flat image, random reads of 4 KiB (fio), ${engine}, ${PLACES.cold}`;
  return race(bench, field, "cold", { id, title, unit: "reads/s" }, async (path, pids) => {
    const value = await readRandomly(path, { depth, access, seconds: options.randomReadSeconds, signal });
    return { value, ...(pids.length > 0 && { peakRssBytes: await peakRssBytes(pids) }) };
  });
}
