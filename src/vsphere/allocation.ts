import type { BlockSource, Extent } from "../block-source.js";
import { deadline } from "../deadline.js";
import { IntegrityError, UnreachableError, VmmountError } from "../errors.js";
import { PARTITION_TABLE_BYTES, partitionStarts } from "../image/partition-table.js";
import type { Logger } from "../log.js";
import { retry } from "../retry.js";
import { bytes, type Bytes, KIB, SECTOR_BYTES } from "../units.js";
import { AllocationMap, type Spot } from "./allocation-map.js";
import { child, childrenNamed, integerAt } from "./element.js";
import { SoapFault } from "./faults.js";
import type { VsphereLimits } from "./limits.js";
import { queryAllocatedAreas } from "./requests.js";
import type { Session } from "./session.js";
import type { MoRef } from "./soap-message.js";

export interface AllocationScope {
  readonly session: Session;
  readonly limits: VsphereLimits;
  readonly logger: Logger;
  readonly signal: AbortSignal;
}

export interface AllocationQuestion {
  readonly vm: MoRef;
  readonly snapshot: MoRef;
  /** The server's key of the disk. */
  readonly deviceKey: number;
  readonly isTracked: boolean;
}

export interface Allocation {
  readonly map: AllocationMap | undefined;
  /** One line for log and catalog. */
  readonly text: string;
}

/** Random spots that are read to find out whether a map lies. */
const RANDOM_PROBES_MAX = 256;
/** Holes of which both ends are read: data that a map misses tends to touch data that it knows. */
const LARGE_HOLES_MAX = 32;
const PROBE_BYTES = 4 * KIB;
/** A busy host answers 500 or 503 for some seconds. */
const RETRY = { retriesMax: 3, delayMs: 500, delayMsMax: 4_000 };

/**
 * Asks the server which areas of a disk are allocated. The answer is probed before it is trusted: some versions report
 * too little (VMware KB 2137545), and a hole that is none would be silent loss. Whatever is wrong ends in "unknown";
 * only an abort of the caller ends in an error.
 */
export async function loadAllocation(
  question: AllocationQuestion,
  source: BlockSource,
  scope: AllocationScope,
): Promise<Allocation> {
  if (!question.isTracked) return { map: undefined, text: "unknown: changed block tracking is off" };
  const seconds = scope.limits.allocationMs / 1000;
  const tooLong = deadline(
    scope.limits.allocationMs,
    () => new UnreachableError(`the server did not tell the allocation within ${seconds} s`),
  );
  const signal = AbortSignal.any([scope.signal, tooLong]);
  try {
    const map = await query(question, source.size, { ...scope, signal });
    const lie = await firstLie(map, source, { ...scope, signal });
    if (lie !== undefined) {
      throw new IntegrityError(`the server calls ${lie} a hole, but there is data`);
    }
    const percent = Math.round((map.allocated / source.size) * 100);
    return { map, text: `changed block tracking: ${percent} % allocated, probed` };
  } catch (error) {
    scope.signal.throwIfAborted();
    if (!(error instanceof SoapFault || error instanceof VmmountError)) throw error;
    // A server without the method is nothing to act on; a wrong map, or one that cannot be checked, is.
    if (error instanceof VmmountError) {
      scope.logger.warn("Cannot trust the disk's allocation map, reading the whole disk", { error: error.message });
    }
    const reason = error instanceof SoapFault ? error.fault : error.message;
    return { map: undefined, text: `unknown: the allocation map cannot be used (${reason})` };
  }
}

async function query(question: AllocationQuestion, size: Bytes, scope: AllocationScope): Promise<AllocationMap> {
  const { session, signal } = scope;
  const { changedAreasMax, changedAreaPagesMax } = scope.limits;
  const map = new AllocationMap(size, changedAreasMax);
  let at = 0;
  let areas = 0;
  for (let page = 0; at < size; page++) {
    if (page >= changedAreaPagesMax) throw new IntegrityError(`the server needs more than ${page} calls to tell it`);
    const request = queryAllocatedAreas(question.vm, {
      snapshot: question.snapshot,
      deviceKey: question.deviceKey,
      startOffset: at,
    });
    const answer = await retry(() => session.call(request, { signal }), { policy: RETRY, signal });
    const info = child(answer, "returnval");
    const start = integerAt(info, "startOffset");
    const length = integerAt(info, "length") ?? 0;
    if (start !== at || length <= 0 || at + length > size) {
      throw new IntegrityError(`the server answered for ${start ?? "nowhere"} + ${length} in place of ${at}`);
    }
    const changed = childrenNamed(info, "changedArea");
    areas += changed.length;
    // The map merges neighbours, so its own bound does not count what comes.
    if (areas > changedAreasMax) throw new IntegrityError(`the server tells more than ${changedAreasMax} areas`);
    for (const area of changed) {
      map.add(integerAt(area, "start") ?? -1, integerAt(area, "length") ?? 0, { from: at, to: at + length });
    }
    at += length;
  }
  return map;
}

/** Where the first probed hole that holds data begins. */
async function firstLie(map: AllocationMap, source: BlockSource, scope: AllocationScope): Promise<number | undefined> {
  if (map.allocated === source.size) return undefined;
  const stop = new AbortController();
  const signal = AbortSignal.any([scope.signal, stop.signal]);
  const read = async ({ at, length }: Spot): Promise<Uint8Array> => {
    const content = new Uint8Array(length);
    await retry(() => source.read(content, bytes(at), { signal }), { policy: RETRY, signal });
    return content;
  };
  const probes = (await probesOf(map, source.size, read)).values();
  let end: { readonly lie: number } | { readonly failure: unknown } | undefined;
  // The workers share one iterator: each takes the next probe when it is done with its last.
  const worker = async (): Promise<void> => {
    for (const probe of probes) {
      if (end !== undefined) return;
      try {
        if ((await read(probe)).some((byte) => byte !== 0)) end ??= { lie: probe.at };
      } catch (failure) {
        end ??= { failure };
      }
      if (end !== undefined) stop.abort();
    }
  };
  await Promise.all(Array.from({ length: scope.limits.dataConnectionsMax }, worker));
  if (end !== undefined && "failure" in end) throw end.failure;
  return end?.lie;
}

/** Where a wrong map is likeliest to be caught comes first, then everywhere. */
async function probesOf(
  map: AllocationMap,
  size: Bytes,
  read: (spot: Spot) => Promise<Uint8Array>,
): Promise<readonly Spot[]> {
  const firstSector = map.holePart(0, SECTOR_BYTES);
  // A partition in use begins with a boot sector, a super block or a label.
  const starts =
    firstSector === undefined
      ? partitionStarts(await read({ at: 0, length: Math.min(PARTITION_TABLE_BYTES, size) }), size)
      : [];
  const certain = [firstSector, map.holePart(size - SECTOR_BYTES, SECTOR_BYTES)];
  const partitions = starts.map((at) => map.holePart(at, PROBE_BYTES));
  return [
    ...[...certain, ...partitions].filter((spot) => spot !== undefined),
    ...map.largestHoleEnds(LARGE_HOLES_MAX, PROBE_BYTES),
    ...map.randomHoleSpots(RANDOM_PROBES_MAX, PROBE_BYTES),
  ];
}

/** The same bytes, with the map to tell holes from data. */
export function withAllocation(source: BlockSource, map: AllocationMap | undefined): BlockSource {
  if (map === undefined) return source;
  return {
    size: source.size,
    read: (into, at, options) => source.read(into, at, options),
    // eslint-disable-next-line @typescript-eslint/require-await -- the seam is asynchronous, this map is in memory
    async *extents(from: Bytes, length: Bytes): AsyncGenerator<Extent> {
      yield* map.extents(from, length);
    },
    [Symbol.asyncDispose]: () => source[Symbol.asyncDispose](),
  };
}
