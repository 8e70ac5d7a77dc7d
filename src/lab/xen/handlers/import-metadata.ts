import { ArchiveContents, type ImportedObject } from "../archive/archive-contents.js";
import { openArchive } from "../archive/open-archive.js";
import { readOva } from "../archive/ova-reader.js";
import { XapiFault } from "../fault.js";
import type { HandlerCall } from "../http-handlers.js";
import { isSince } from "../profile.js";
import { NULL_REF, textOf, type Value } from "../value.js";
import { isAsked } from "./asked-objects.js";
import { asImport, CODED_ARCHIVE } from "./import.js";
import { findDuplicates, removeReplaced } from "./import/duplicates.js";
import { ImportedObjects } from "./import/imported-objects.js";
import { beginUpload } from "./upload.js";

/** PUT /import_metadata: VMs around disks that are there already. The result is a set of VMs, empty for a trial. */
export async function importMetadata(call: HandlerCall): Promise<Value> {
  const body = await beginUpload(call, CODED_ARCHIVE);
  const refs = await asImport(() => importRecords(call, body));
  call.answer.end();
  return refs;
}

async function importRecords(call: HandlerCall, body: AsyncIterable<Buffer>): Promise<string[]> {
  const { pool, task } = call;
  const { ova } = await openArchive(body, isSince(pool.profile.name, "8.2"));
  const contents = new ArchiveContents(readOva(ova, pool.profile), pool.profile.name);
  const isForced = isAsked(call, "force");
  const isKept = isAsked(call, "restore");
  const { skipped, replaced } = isKept
    ? findDuplicates(pool, contents, isForced)
    : { skipped: new Set<ImportedObject>(), replaced: [] };
  const existingDisks = findDisks(call, contents, isForced);
  if (isAsked(call, "dry_run")) return [];
  const vms = contents.of("VM").filter((vm) => !skipped.has(vm) && vm.fields["is_control_domain"] !== true);
  const identity = isKept ? "kept" : "new";
  const objects = new ImportedObjects({ pool, contents, identity, task: task.ref, existingDisks, sr: NULL_REF });
  try {
    removeReplaced(pool, replaced);
    return await objects.create(vms);
  } catch (error) {
    if (!isForced) await objects.undo();
    throw error;
  }
}

/**
 * By what the request says (`vdi:OLD=NEW`), else by the uuid of the storage and the place on it.
 * @throws XapiFault VDI_LOCATION_MISSING unless forced
 */
function findDisks(call: HandlerCall, contents: ArchiveContents, isForced: boolean): Map<string, string> {
  const { database } = call.pool;
  const found = new Map<string, string>();
  for (const vdi of contents.of("VDI")) {
    if (contents.isOnIsoStorage(vdi)) continue;
    const named = call.query.get(`vdi:${textOf(vdi.fields["uuid"])}`);
    const srUuid = contents.get("SR", vdi.fields["SR"])?.fields["uuid"] ?? "";
    const [sr] = database.where("SR", "uuid", srUuid);
    const ref =
      named === null
        ? database
            .where("VDI", "location", vdi.fields["location"] ?? "")
            .find((one) => database.text("VDI", one, "SR") === sr)
        : database.where("VDI", "uuid", named)[0];
    if (ref !== undefined) found.set(vdi.id, ref);
    else if (!isForced) throw new XapiFault("VDI_LOCATION_MISSING", sr ?? NULL_REF, textOf(vdi.fields["location"]));
  }
  return found;
}
