import { ReferenceNumbers } from "../archive/reference-table.js";
import type { HandlerEntry, HttpHandlers } from "../http-handlers.js";
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
  const machines = { role: "vm-admin" } as const;
  const whole = { role: "pool-admin" } as const;
  const entries: readonly HandlerEntry[] = [
    { ...machines, method: "GET", path: "/export", label: "VM.export", run: exportHandler(numbers) },
    {
      ...machines,
      method: "GET",
      path: "/export_metadata",
      label: "VM.export_metadata",
      run: exportMetadataHandler(numbers),
    },
    { ...machines, method: "GET", path: "/export_raw_vdi", label: "VDI.export_raw", run: exportRawVdi },
    { ...machines, method: "PUT", path: "/import", label: "VM.import", run: importMachines },
    { ...machines, method: "PUT", path: "/import_metadata", label: "VM.metadata_import", run: importMetadata },
    { ...machines, method: "PUT", path: "/import_raw_vdi", label: "VDI.import_raw", run: importRawVdi },
    { ...whole, method: "GET", path: "/pool/xmldbdump", label: "pool.dump_database", run: sendDump },
    { ...whole, method: "PUT", path: "/pool/xmldbdump", label: "pool.restore_database", run: restoreDump },
    { ...whole, method: "GET", path: "/host_backup", label: "host.backup", run: sendHostBackup },
  ];
  for (const entry of entries) handlers.register(entry);
}
