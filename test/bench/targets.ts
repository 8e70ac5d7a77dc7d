import { MIB } from "../../src/units.js";
import { PLAIN_READ, SPARSE_CP, SPARSE_TAR } from "./cases/thin-disk.js";
import { FIRST_BYTE, SNAPSHOT_ALONE } from "./cases/starting.js";
import { CAP_BYTES_PER_SECOND } from "./cases/https.js";
import { LATENCIES_US, NBDKIT_HOP, VDDK_ALONE, VDDK_HOP, VDDK_MOUNT } from "./cases/vddk.js";
import { ARCHIVES, RAW_DISK, XEN_WAYS } from "./cases/xen-archive.js";
import { MEGA } from "./measure.js";
import { type CaseId, CASES, type Options } from "./options.js";
import { NBDKIT_CURL, NBDKIT_CURL_AHEAD } from "./peers/nbdkit.js";
import { QEMU } from "./peers/qemu-storage-daemon.js";
import { BARE_FILE } from "./peers/bare-file.js";
import { RAW_RANGES } from "./peers/raw-ranges.js";
import { VMMOUNT, VMMOUNT_COPYING } from "./peers/vmmount.js";
import { ratios, spreadOf } from "./statistics.js";
import { seriesOf, type Table, values } from "./table.js";

export interface Verdict {
  readonly target: string;
  readonly measured: string;
  readonly result: "met" | "missed" | "not measured";
}

interface Target {
  readonly case: CaseId;
  readonly text: string;
  /** undefined when the run has no numbers for it. */
  readonly measure: (tables: ReadonlyMap<string, Table>, options: Options) => number | undefined;
  readonly atLeast?: number;
  readonly below?: number;
  readonly show: (value: number) => string;
}

const times = (value: number): string => `${value.toFixed(3)} x`;
const OURS: readonly string[] = [VMMOUNT, VMMOUNT_COPYING];
/** What the kernel and Node take themselves, beside the cache and what is on its way. */
const DAEMON_BYTES_MAX = 120 * MIB;
const IN_FLIGHT_BYTES_MAX = 64 * MIB;
/** The default of mount.cache_size. */
const CACHE_BYTES = 256 * MIB;

type Tables = ReadonlyMap<string, Table>;

/** Median over the runs of vmmount divided by a contender in the same run. */
function ratioTo(tables: Tables, id: string, other: string, subject = VMMOUNT): number | undefined {
  const table = tables.get(id);
  return spreadOf(ratios(values(seriesOf(table, subject)), values(seriesOf(table, other))))?.median;
}

/** The smallest ratio to any peer: against the best of them. */
function ratioToBest(tables: Tables, id: string, among?: readonly string[], subject = VMMOUNT): number | undefined {
  const peers = (tables.get(id)?.series ?? []).filter(({ name }) =>
    among === undefined ? !OURS.includes(name) && name !== BARE_FILE : among.includes(name),
  );
  return least(peers.map(({ name }) => ratioTo(tables, id, name, subject)));
}

function least(found: readonly (number | undefined)[]): number | undefined {
  const known = found.filter((value) => value !== undefined);
  return known.length === 0 ? undefined : Math.min(...known);
}

function greatest(found: readonly (number | undefined)[]): number | undefined {
  const known = found.filter((value) => value !== undefined);
  return known.length === 0 ? undefined : Math.max(...known);
}

function median(tables: Tables, id: string, name: string): number | undefined {
  return spreadOf(values(seriesOf(tables.get(id), name)))?.median;
}

function quotient(value: number | undefined, by: number | undefined): number | undefined {
  return value === undefined || by === undefined ? undefined : value / by;
}

/** The targets of local files, for vmmount with and without the kernel reading for it. */
function localTargets(subject: string): Target[] {
  const who = subject === VMMOUNT ? "" : ` (${subject})`;
  const ratio = (letter: CaseId, id: string, other: string, atLeast: number, words: string): Target => ({
    case: letter,
    text: `${id}: ${words}${who}`,
    measure: (tables) => ratioTo(tables, id, other, subject),
    atLeast,
    show: times,
  });
  const ahead = (letter: CaseId, id: string): Target => ({
    case: letter,
    text: `${id}: ahead of every peer${who}`,
    measure: (tables) => ratioToBest(tables, id, undefined, subject),
    atLeast: 1,
    show: (value) => `${times(value)} the best of them`,
  });
  return [
    ...["a-cold", "a-warm"].flatMap((id) => [
      ratio("a", id, QEMU, 4, `at least 4 x ${QEMU}`),
      ratio("a", id, BARE_FILE, 0.4, "at least 0.4 x the bare file"),
    ]),
    ahead("b", "b-cold"),
    ahead("b", "b-memory"),
    ratio("c", "c-direct-16", QEMU, 1.5, `at least 1.5 x ${QEMU}`),
    ratio("c", "c-direct-1", QEMU, 1, `not slower than ${QEMU}`),
    ratio("c", "c-buffered", QEMU, 1, `not slower than ${QEMU}`),
    ahead("d", "d-cold"),
    ahead("d", "d-warm"),
  ];
}

const REMOTE: readonly Target[] = [
  {
    case: "e",
    text: `e: at least 0.8 x the ${RAW_RANGES}`,
    measure: (tables) => ratioTo(tables, "e", RAW_RANGES),
    atLeast: 0.8,
    show: times,
  },
  {
    case: "e",
    text: "e: at least 2 x nbdkit curl + nbdfuse, with and without its readahead",
    measure: (tables) => ratioToBest(tables, "e", [NBDKIT_CURL, NBDKIT_CURL_AHEAD]),
    atLeast: 2,
    show: times,
  },
  ...[5, 20].map((ms): Target => ({
    case: "f",
    text: `f: at ${ms} ms, at least 0.9 x the line's 125 MB/s`,
    measure: (tables) => quotient(median(tables, `f-${ms}ms`, VMMOUNT), CAP_BYTES_PER_SECOND / MEGA),
    atLeast: 0.9,
    show: times,
  })),
  {
    case: "g",
    text: "g: bytes sent for the thin disk: less than 1.05 x its data, with cp and with tar",
    measure: (tables, { thinDataBytes }) =>
      quotient(greatest([SPARSE_CP, SPARSE_TAR].map((name) => median(tables, "g-bytes", name))), thinDataBytes),
    below: 1.05,
    show: (value) => times(value),
  },
  ...[SPARSE_CP, SPARSE_TAR].map((name): Target => ({
    case: "g",
    text: `g: ${name}: at most 1.3 x the time of the same data read plainly (dd)`,
    measure: (tables) => quotient(median(tables, "g", name), median(tables, "g", PLAIN_READ)),
    below: 1.3,
    show: times,
  })),
  {
    case: "h",
    text: "h: first byte less than 1 s over the snapshot's own time",
    measure: (tables) => {
      const [all, own] = [median(tables, "h", FIRST_BYTE), median(tables, "h", SNAPSHOT_ALONE)];
      return all === undefined || own === undefined ? undefined : all - own;
    },
    below: 1,
    show: (value) => `${value.toFixed(2)} s`,
  },
  {
    case: "h",
    text: "h: idle daemon below 120 MB",
    measure: (tables) => spreadOf((tables.get("h-memory")?.series ?? []).flatMap((series) => values(series)))?.max,
    below: DAEMON_BYTES_MAX / MIB,
    show: (value) => `${value.toFixed(0)} MiB`,
  },
  {
    case: "i",
    text: "i: all mounts ready and read, none failed",
    measure: (tables) => {
      const series = tables.get("i")?.series[0];
      return series === undefined ? undefined : series.error === undefined ? 1 : 0;
    },
    atLeast: 1,
    show: (value) => (value === 1 ? "yes" : "no"),
  },
  ...LATENCIES_US.map((latency): Target => ({
    case: "j",
    text: `j: at ${latency / 1000} ms for each call, at least 0.85 x the library alone`,
    measure: (tables) => ratioTo(tables, `j-${latency / 1000}ms`, VDDK_ALONE, VDDK_MOUNT),
    atLeast: 0.85,
    show: times,
  })),
  {
    case: "j",
    text: "j: processor time of the NBD hop: less than 1.15 x nbdkit file + nbdcopy",
    measure: (tables) => ratioTo(tables, "j-hop", NBDKIT_HOP, VDDK_HOP),
    below: 1.15,
    show: times,
  },
  ...XEN_WAYS.flatMap(({ id, text }) =>
    Object.values(ARCHIVES).map((archive): Target => ({
      case: "k",
      text: `k: ${archive} ${text}, at least 0.95 x the raw disk`,
      measure: (tables) => ratioTo(tables, `k-${id}`, RAW_DISK, archive),
      atLeast: 0.95,
      show: times,
    })),
  ),
];

/** Every target of the cases that ran; the one for memory, which is over all of them, where all did. */
export function verdicts(tables: readonly Table[], options: Options): Verdict[] {
  const byId = new Map(tables.map((table) => [table.id, table]));
  const found = [...OURS.flatMap(localTargets), ...REMOTE]
    .filter((target) => options.cases.includes(target.case))
    .map((target) => judge(target, byId, options));
  // Of some cases alone it would say less than the run of all before it.
  return options.cases.length < CASES.length ? found : [...found, judge(memoryTarget(tables), byId, options)];
}

function memoryTarget(tables: readonly Table[]): Target {
  const limit = DAEMON_BYTES_MAX + CACHE_BYTES + IN_FLIGHT_BYTES_MAX;
  const peaks = tables.flatMap(({ id, series }) =>
    series
      // All of these read through vmmount only, whatever their series are called.
      .filter(({ name }) => OURS.includes(name) || name === VDDK_MOUNT || ["g", "i"].includes(id))
      .flatMap(({ samples }) => samples.flatMap(({ peakRssBytes }) => peakRssBytes ?? [])),
  );
  return {
    case: "a",
    text: `memory: no daemon ever above 120 MiB + its cache of 256 MiB + 64 MiB`,
    measure: () => greatest(peaks),
    below: limit,
    show: (value) => `${(value / MIB).toFixed(0)} of ${limit / MIB} MiB`,
  };
}

function judge(target: Target, tables: Tables, options: Options): Verdict {
  const value = target.measure(tables, options);
  if (value === undefined) return { target: target.text, measured: "", result: "not measured" };
  const isMet =
    (target.atLeast === undefined || value >= target.atLeast) && (target.below === undefined || value <= target.below);
  return { target: target.text, measured: target.show(value), result: isMet ? "met" : "missed" };
}
