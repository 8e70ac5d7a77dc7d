import type { BlockSource, Extent } from "../block-source.js";
import { IntegrityError } from "../errors.js";
import type { Logger } from "../log.js";
import { bytes, type Bytes, KIB, SECTOR_BYTES } from "../units.js";
import { AllocationMap } from "./allocation-map.js";
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

/** Spots that are read to find out whether a map lies. */
const PROBES_MAX = 32;
const PROBE_BYTES = 4 * KIB;
/** As many at once as a host serves without complaint. */
const PROBES_AT_ONCE = 4;

/**
 * Asks the server which areas of a disk are allocated. The answer is probed before it is trusted: some versions report
 * too little (VMware KB 2137545), and a hole that is none would be silent loss. Whatever is wrong ends in "unknown".
 */
export async function loadAllocation(
  question: AllocationQuestion,
  source: BlockSource,
  scope: AllocationScope,
): Promise<Allocation> {
  if (!question.isTracked) return { map: undefined, text: "unknown: changed block tracking is off" };
  try {
    const map = await query(question, source.size, scope);
    const liar = await firstLie(map, source, scope.signal);
    if (liar !== undefined) {
      throw new IntegrityError(`the server calls ${liar} a hole, but there is data`);
    }
    const percent = Math.round((map.allocated / source.size) * 100);
    return { map, text: `changed block tracking: ${percent} % allocated, probed` };
  } catch (error) {
    if (!(error instanceof SoapFault || error instanceof IntegrityError)) throw error;
    // A server without the method is nothing to act on; a wrong map is.
    if (error instanceof IntegrityError) {
      scope.logger.warn("Cannot trust the disk's allocation map, reading the whole disk", { error: error.message });
    }
    const reason = error instanceof SoapFault ? error.fault : error.message;
    return { map: undefined, text: `unknown: the allocation map cannot be used (${reason})` };
  }
}

async function query(question: AllocationQuestion, size: Bytes, scope: AllocationScope): Promise<AllocationMap> {
  const map = new AllocationMap(size, scope.limits.changedAreasMax);
  for (let at = 0; at < size;) {
    const request = queryAllocatedAreas(question.vm, {
      snapshot: question.snapshot,
      deviceKey: question.deviceKey,
      startOffset: at,
    });
    const info = child(await scope.session.call(request, { signal: scope.signal }), "returnval");
    const start = integerAt(info, "startOffset");
    const length = integerAt(info, "length") ?? 0;
    if (start !== at || length <= 0 || at + length > size) {
      throw new IntegrityError(`the server answered for ${start ?? "nowhere"} + ${length} in place of ${at}`);
    }
    for (const area of childrenNamed(info, "changedArea")) {
      map.add(integerAt(area, "start") ?? -1, integerAt(area, "length") ?? 0, { from: at, to: at + length });
    }
    at += length;
  }
  return map;
}

/** The first probed hole that holds data. */
async function firstLie(map: AllocationMap, source: BlockSource, signal: AbortSignal): Promise<number | undefined> {
  const ends = [0, source.size - SECTOR_BYTES].map((at) => ({ at, length: SECTOR_BYTES }));
  const probes = [...ends, ...map.randomHoleSpots(PROBES_MAX, PROBE_BYTES)].filter(
    ({ at, length }) => at >= 0 && map.isHole(at, length),
  );
  for (let first = 0; first < probes.length; first += PROBES_AT_ONCE) {
    const batch = probes.slice(first, first + PROBES_AT_ONCE);
    const lies = await Promise.all(
      batch.map(async ({ at, length }) => {
        const content = new Uint8Array(length);
        await source.read(content, bytes(at), { signal });
        return content.some((byte) => byte !== 0) ? at : undefined;
      }),
    );
    const lie = lies.find((at) => at !== undefined);
    if (lie !== undefined) return lie;
  }
  return undefined;
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
