import type { StorageRoom } from "../health.js";
import { MIB } from "../units.js";
import { fail, type Finding, ok, skip, warn } from "./finding.js";
import { roomText, sizeText } from "./room.js";

/** A VM that writes during the backup fills the last tenth of a datastore within hours, and then stands still. */
const FREE_PART_MIN = 0.1;
/** What the delta of a snapshot takes at least, on every storage: it grows in steps of 16 MiB. */
const DELTA_BYTES_MIN = 16 * MIB;

export function judgeRoom({ name, type, freeBytes, totalBytes, snapshotBytes }: StorageRoom): Finding {
  const id = "vm.room";
  if (freeBytes === undefined) return skip(id, `The ${name} (${type}) does not say how much room it has`);
  const text = `The ${name} (${type}) has ${roomText(freeBytes, totalBytes)}`;
  const needed = Math.max(snapshotBytes, DELTA_BYTES_MIN);
  const hint = "Make room there, or move the VM";
  if (freeBytes < needed) return fail(id, "space", `${text}, and a snapshot takes ${sizeText(needed)} of it`, hint);
  const isLow = totalBytes !== undefined && totalBytes > 0 && freeBytes < totalBytes * FREE_PART_MIN;
  return isLow ? warn(id, text, hint) : ok(id, text);
}
