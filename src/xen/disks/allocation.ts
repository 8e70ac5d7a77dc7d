import { randomInt } from "node:crypto";
import type { BlockSource } from "../../block-source.js";
import { deadline } from "../../deadline.js";
import { IntegrityError, NotFoundError, UnreachableError, VmmountError } from "../../errors.js";
import { bytes, type Bytes, GIB } from "../../units.js";
import { translating } from "../xapi/fault-errors.js";
import type { Xapi, XenHost } from "../xapi/xapi.js";
import { VhdMap } from "./vhd-map.js";
import type { DiskScope, XenVdi } from "./xen-vdi.js";

/** Beyond, there is no VHD. */
const VHD_BYTES_MAX = 2040 * GIB;

export interface Allocation {
  readonly map: VhdMap | undefined;
  /** One line for log and catalog. */
  readonly text: string;
}

/**
 * Asks which blocks of a disk may hold data: a host that exports the disk as a dynamic VHD sends the table of its blocks before
 * anything else, and the rest is not taken. Where the storage knows nothing of holes the table has every block.
 * Whatever is wrong ends in "unknown"; only an abort of the caller ends in an error.
 */
export async function loadAllocation(vdi: XenVdi, scope: DiskScope, caller: AbortSignal): Promise<Allocation> {
  if (vdi.size > VHD_BYTES_MAX) return { map: undefined, text: "unknown: the disk is too large for a VHD" };
  const { allocationMs } = scope.limits;
  const tooLong = deadline(
    allocationMs,
    () => new UnreachableError(`the server did not tell the allocation within ${allocationMs / 1000} s`),
  );
  const signal = AbortSignal.any([caller, tooLong]);
  try {
    const map = await translating("Cannot ask for the allocation", () => readMap(vdi, scope, signal));
    const percent = vdi.size === 0 ? 0 : Math.round((map.allocated / vdi.size) * 100);
    return { map, text: `VHD allocation table: ${percent} % allocated` };
  } catch (error) {
    caller.throwIfAborted();
    if (!(error instanceof VmmountError)) throw error;
    scope.logger.warn(`Cannot use the allocation map of ${vdi.shown}, reading the whole disk`, {
      error: error.message,
    });
    return { map: undefined, text: `unknown: the allocation map cannot be used (${error.message})` };
  }
}

async function readMap(vdi: XenVdi, { xapi }: DiskScope, signal: AbortSignal): Promise<VhdMap> {
  const host = await exportingHost(xapi, signal);
  const query = { vdi: vdi.uuid, format: "vhd" };
  const options = { what: `Asking for the holes of ${vdi.shown}`, signal };
  await using download = await xapi.download(host, "/export_raw_vdi", query, options);
  return await VhdMap.read(download.body, vdi.size);
}

/** The master sends us on to a host that reaches the storage. */
export async function exportingHost(xapi: Xapi, signal: AbortSignal): Promise<XenHost> {
  const hosts = await xapi.hosts({ signal });
  const host = hosts.find(({ isLive }) => isLive);
  if (host === undefined) throw new NotFoundError("Cannot read from the pool: no host of it is alive");
  return host;
}

/**
 * Reads some places that the map calls holes: a hole that is none would be silent loss.
 * @throws IntegrityError when there is data in one
 */
export async function probeHoles(
  map: VhdMap,
  source: BlockSource,
  scope: DiskScope,
  signal: AbortSignal,
): Promise<void> {
  const { probesMax, probeBytes } = scope.limits;
  for (const at of holesToProbe(map, probesMax, probeBytes)) {
    const content = new Uint8Array(Math.min(probeBytes, map.size - at));
    await source.read(content, at, { signal });
    if (content.some((byte) => byte !== 0))
      throw new IntegrityError(`the server calls ${at} a hole, but there is data`);
  }
}

/** The ends of holes, since data that a map misses tends to touch data that it knows, and places anywhere in them. */
function holesToProbe(map: VhdMap, probesMax: number, probeBytes: number): readonly Bytes[] {
  const holes = [...map.extents(bytes(0), map.size)].filter(({ kind }) => kind === "hole");
  const largest = holes.sort((a, b) => b.length - a.length).slice(0, Math.floor(probesMax / 4));
  return largest.flatMap(({ start, length }) => {
    const last = start + Math.max(0, length - probeBytes);
    const within = [0, 1].map(() => start + randomInt(0, Math.min(2 ** 47, last - start + 1)));
    return [start, last, ...within].map((at) => bytes(at - (at % 512)));
  });
}
