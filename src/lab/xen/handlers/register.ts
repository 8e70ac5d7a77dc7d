import { ReferenceNumbers } from "../archive/reference-table.js";
import type { HandlerEntry, HttpHandlers } from "../http-handlers.js";
import { HTTP_PERMISSIONS } from "../permissions.js";
import { exportHandler } from "./export.js";
import { exportMetadataHandler } from "./export-metadata.js";
import { exportRawVdi } from "./export-raw-vdi.js";
import { sendHostBackup } from "./host-backup.js";
import { importMachines } from "./import.js";
import { importMetadata } from "./import-metadata.js";
import { importRawVdi } from "./import-raw-vdi.js";
import { restoreDump, sendDump } from "./xmldbdump.js";

/** Every HTTP handler that moves data in or out of the pool. */
export function registerDataHandlers(handlers: HttpHandlers): void {
  // They count on for as long as the host runs.
  const numbers = new ReferenceNumbers();
  const permitted = (permission: keyof typeof HTTP_PERMISSIONS) => ({ permission, role: HTTP_PERMISSIONS[permission] });
  const entries: readonly HandlerEntry[] = [
    {
      ...permitted("http/get_export"),
      method: "GET",
      path: "/export",
      label: "VM.export",
      run: exportHandler(numbers),
    },
    {
      ...permitted("http/get_export_metadata"),
      method: "GET",
      path: "/export_metadata",
      label: "VM.export_metadata",
      run: exportMetadataHandler(numbers),
    },
    {
      ...permitted("http/get_export_raw_vdi"),
      method: "GET",
      path: "/export_raw_vdi",
      label: "VDI.export_raw",
      run: exportRawVdi,
    },
    { ...permitted("http/put_import"), method: "PUT", path: "/import", label: "VM.import", run: importMachines },
    {
      ...permitted("http/put_import_metadata"),
      method: "PUT",
      path: "/import_metadata",
      label: "VM.metadata_import",
      run: importMetadata,
    },
    {
      ...permitted("http/put_import_raw_vdi"),
      method: "PUT",
      path: "/import_raw_vdi",
      label: "VDI.import_raw",
      run: importRawVdi,
    },
    {
      ...permitted("http/get_pool_xml_db_sync"),
      method: "GET",
      path: "/pool/xmldbdump",
      label: "pool.dump_database",
      run: sendDump,
    },
    {
      ...permitted("http/put_pool_xml_db_sync"),
      method: "PUT",
      path: "/pool/xmldbdump",
      label: "pool.restore_database",
      run: restoreDump,
    },
    {
      ...permitted("http/get_host_backup"),
      method: "GET",
      path: "/host_backup",
      label: "host.backup",
      run: sendHostBackup,
    },
  ];
  for (const entry of entries) handlers.register(entry);
}
