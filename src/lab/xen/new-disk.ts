import { randomUUID } from "node:crypto";
import { GIB, MIB } from "../../units.js";
import type { Row } from "./database/database.js";
import { XapiFault } from "./fault.js";
import { assertRoom } from "./room.js";
import { EPOCH, NULL_REF } from "./value.js";
import type { XenPool } from "./xen-pool.js";

/** Images of VHD have whole blocks. */
const VHD_BLOCK_BYTES = 2 * MIB;
/** Largest disk of a VHD. */
const VHD_BYTES_MAX = 2040 * GIB;

/**
 * Makes a disk of zeros on an SR; its size is rounded up to whole blocks of the image.
 * @param fields of the VDI's record besides uuid, SR, location and size
 * @returns its reference
 * @throws XapiFault SR_OPERATION_NOT_SUPPORTED, SR_HAS_NO_PBDS, SR_BACKEND_FAILURE_44 and _79
 */
export async function newDisk(pool: XenPool, sr: string, sizeBytes: number, fields: Row): Promise<string> {
  const { database, store } = pool;
  if (database.text("SR", sr, "type") === "iso") throw new XapiFault("SR_OPERATION_NOT_SUPPORTED", sr);
  if (!database.rows("PBD").some(([, row]) => row["SR"] === sr && row["currently_attached"] === true)) {
    throw new XapiFault("SR_HAS_NO_PBDS", sr);
  }
  if (sizeBytes < 0 || sizeBytes > VHD_BYTES_MAX) {
    throw new XapiFault("SR_BACKEND_FAILURE_79", "", `VDI Invalid size [opterr=at most ${VHD_BYTES_MAX} bytes]`, "");
  }
  const rounded = Math.max(1, Math.ceil(sizeBytes / VHD_BLOCK_BYTES)) * VHD_BLOCK_BYTES;
  assertRoom(pool, sr, rounded);
  const uuid = randomUUID();
  const placed = { uuid, SR: sr, location: uuid, virtual_size: rounded, managed: true };
  const vdi = database.create("VDI", { ...fields, ...placed });
  return withBytes(pool, vdi, () => store.make(vdi));
}

/** A full copy of a disk as a disk of its own, on the same SR or another one. */
export function copyDisk(pool: XenPool, vdi: string, sr: string): Promise<string> {
  const { database, store } = pool;
  const row = database.row("VDI", vdi);
  assertRoom(pool, sr, Number(row["virtual_size"]));
  const uuid = randomUUID();
  const copy = database.create("VDI", {
    ...row,
    uuid,
    location: uuid,
    SR: sr,
    is_a_snapshot: false,
    snapshot_of: NULL_REF,
    snapshot_time: EPOCH,
    cbt_enabled: false,
    current_operations: {},
  });
  return withBytes(pool, copy, () => store.copy(vdi, copy));
}

/** No object stays without its file. */
async function withBytes({ database, store }: XenPool, vdi: string, write: () => Promise<void>): Promise<string> {
  try {
    await write();
    return vdi;
  } catch (error) {
    const path = store.path(vdi);
    database.delete("VDI", vdi);
    await store.remove(path);
    throw error;
  }
}
