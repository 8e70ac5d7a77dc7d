import { isThick, srUsage } from "./computed.js";
import { XapiFault } from "./fault.js";
import type { XenPool } from "./xen-pool.js";

/**
 * Whether an SR can take a new disk or snapshot: thick types need room for all of it, thin ones for anything at all.
 * @throws XapiFault SR_BACKEND_FAILURE_44
 */
export function assertRoom(pool: XenPool, sr: string, bytes: number): void {
  const free = freeBytes(pool, sr);
  const needed = isThick(pool.database.text("SR", sr, "type")) ? bytes : 1;
  if (free < needed) throw new XapiFault("SR_BACKEND_FAILURE_44", "", "There is insufficient space", "");
}

/** Bytes that an SR can still take. */
export function freeBytes(pool: XenPool, sr: string): number {
  const size = Number(pool.database.row("SR", sr)["physical_size"]);
  return size - srUsage(pool.database, pool.store, sr).physical_utilisation;
}
