import { archivedMachines } from "../archive/archived-machines.js";
import { ovaDocument } from "../archive/ova-document.js";
import type { ReferenceNumbers } from "../archive/reference-table.js";
import { TAR_END_BYTES } from "../archive/tar-header.js";
import { XapiFault } from "../fault.js";
import type { HandlerCall, HttpHandler } from "../http-handlers.js";
import { assertVmAllows } from "../vm-rules.js";
import { askedVm, isAsked } from "./asked-objects.js";
import { beginDownload } from "./download.js";
import { ovaMember } from "./export.js";

/** GET /export_metadata: an archive of ova.xml alone, of running VMs too. */
export function exportMetadataHandler(numbers: ReferenceNumbers): HttpHandler {
  return async (call) => {
    const { pool, query, answer } = call;
    const vms = isAsked(call, "all") ? allVms(call) : [askedVm(call)];
    for (const vm of vms) assertExportable(call, vm);
    const snapshots = query.get("export_snapshots") === "false" ? "hidden" : "shown";
    const excluded = pool.profile.snapshotMetadata ? (query.get("excluded_device_types") ?? "").split(",") : [];
    const style = { powerState: "kept", snapshots, excluded: new Set(excluded) } as const;
    const { objects } = archivedMachines(pool.database, vms, style, numbers);
    const archive = Buffer.concat([
      ...ovaMember(pool.profile, ovaDocument(pool.profile, objects)),
      Buffer.alloc(TAR_END_BYTES),
    ]);
    await beginDownload(call, {
      version: "1.0",
      type: "application/octet-stream",
      fileName: "export.xva",
      length: archive.length,
    });
    await answer.write(archive);
    answer.end();
    return "";
  };
}

function assertExportable({ pool }: HandlerCall, vm: string): void {
  if (pool.database.row("VM", vm)["is_a_snapshot"] === true && !pool.profile.snapshotMetadata) {
    throw new XapiFault("OPERATION_NOT_ALLOWED", "Exporting metadata of a snapshot is not allowed");
  }
  if (pool.database.row("VM", vm)["is_control_domain"] !== true) assertVmAllows(pool, vm, "metadata_export");
}

/** Of the pool, without the templates that every installation has; snapshots come with their VMs. */
function allVms({ pool, query }: HandlerCall): string[] {
  const withControlDomains = query.get("include_dom0") !== "false";
  return pool.database
    .rows("VM")
    .filter(([, row]) => row["is_default_template"] !== true && row["is_a_snapshot"] !== true)
    .filter(([, row]) => withControlDomains || row["is_control_domain"] !== true)
    .map(([ref]) => ref);
}
