import { randomUUID } from "node:crypto";
import { MIB } from "../../units.js";
import type { Row } from "./database/database.js";
import { XapiFault } from "./fault.js";
import { assertRoom } from "./room.js";
import type { XenPool } from "./xen-pool.js";

/** Images of VHD have whole blocks. */
const VHD_BLOCK_BYTES = 2 * MIB;

/**
 * Makes a disk of zeros on an SR; its size is rounded up to whole blocks of the image.
 * @param fields of the VDI's record besides uuid, SR, location and size
 * @returns its reference
 * @throws XapiFault SR_OPERATION_NOT_SUPPORTED, SR_BACKEND_FAILURE_44
 */
export async function newDisk(pool: XenPool, sr: string, sizeBytes: number, fields: Row): Promise<string> {
  const { database, store } = pool;
  if (database.text("SR", sr, "type") === "iso") throw new XapiFault("SR_OPERATION_NOT_SUPPORTED", sr);
  const rounded = Math.ceil(sizeBytes / VHD_BLOCK_BYTES) * VHD_BLOCK_BYTES;
  assertRoom(pool, sr, rounded);
  const uuid = randomUUID();
  const placed = { uuid, SR: sr, location: uuid, virtual_size: rounded, managed: true };
  const vdi = database.create("VDI", { ...fields, ...placed });
  try {
    await store.make(vdi);
  } catch (error) {
    database.delete("VDI", vdi);
    throw error;
  }
  return vdi;
}
