import type { Database } from "../database/database.js";
import { isSince } from "../profile.js";
import { isList, NULL_REF, textOf, type Value } from "../value.js";
import { archivedRecord, type RecordStyle } from "./archived-record.js";
import type { ArchivedObject } from "./ova-document.js";
import { type ReferenceNumbers, ReferenceTable } from "./reference-table.js";

/** In the order of the file. */
const CLASSES = ["host", "VM", "VM_metrics", "VM_guest_metrics", "VBD", "VIF", "network", "VDI", "SR"];

export interface ArchivedDisk {
  /** Its id in the archive, which is also its directory. */
  readonly id: string;
  readonly vdi: string;
}

export interface ArchivedMachines {
  readonly objects: readonly ArchivedObject[];
  /** In the order of their ids as texts: `Ref:10` is before `Ref:9`. */
  readonly disks: readonly ArchivedDisk[];
}

/** Everything that an archive says about some VMs, and the disks that belong to them. */
export function archivedMachines(
  database: Database,
  vms: readonly string[],
  style: RecordStyle,
  numbers: ReferenceNumbers,
): ArchivedMachines {
  const table = new ReferenceTable(numbers);
  for (const vm of vms) addMachine(database, table, vm, style);
  const objects = CLASSES.flatMap((className) =>
    table.of(className).map(({ ref, id }) => ({
      class: className,
      id,
      snapshot: archivedRecord(className, database.record(className, ref), table, style),
    })),
  );
  return { objects, disks: disksOf(database, table) };
}

function addMachine(database: Database, table: ReferenceTable, vm: string, style: RecordStyle): void {
  if (!table.add("VM", vm)) return;
  const record = database.record("VM", vm);
  if (isSince(database.profile.name, "8.3")) addIfThere(database, table, "VM_metrics", record["metrics"]);
  addIfThere(database, table, "VM_guest_metrics", record["guest_metrics"]);
  for (const field of ["resident_on", "affinity"]) addIfThere(database, table, "host", record[field]);
  for (const vbd of style.excluded?.has("vbd") === true ? [] : listed(record["VBDs"])) {
    table.add("VBD", vbd);
    addDisk(database, table, database.row("VBD", vbd)["VDI"]);
  }
  for (const vif of style.excluded?.has("vif") === true ? [] : listed(record["VIFs"])) {
    table.add("VIF", vif);
    addIfThere(database, table, "network", database.row("VIF", vif)["network"]);
  }
  if (style.powerState === "kept") addDisk(database, table, record["suspend_VDI"]);
  if (style.snapshots === "shown") {
    for (const snapshot of listed(record["snapshots"])) addMachine(database, table, snapshot, style);
  }
}

function addDisk(database: Database, table: ReferenceTable, vdi: Value | undefined): void {
  if (!addIfThere(database, table, "VDI", vdi)) return;
  addIfThere(database, table, "SR", database.row("VDI", textOf(vdi))["SR"]);
}

function addIfThere(database: Database, table: ReferenceTable, className: string, ref: Value | undefined): boolean {
  if (typeof ref !== "string" || ref === NULL_REF || !database.has(className, ref)) return false;
  return table.add(className, ref);
}

/** What is behind a CD drive, or on storage for images of CDs, stays where it is. */
function disksOf(database: Database, table: ReferenceTable): ArchivedDisk[] {
  const drives = new Set(
    table
      .of("VBD")
      .map(({ ref }) => database.row("VBD", ref))
      .filter((row) => row["type"] === "CD")
      .map((row) => textOf(row["VDI"])),
  );
  return table
    .of("VDI")
    .filter(({ ref }) => !drives.has(ref))
    .filter(({ ref }) => database.text("SR", database.text("VDI", ref, "SR"), "content_type") !== "iso")
    .map(({ ref, id }) => ({ id, vdi: ref }))
    .sort((a, b) => (a.id < b.id ? -1 : 1));
}

function listed(refs: Value | undefined): string[] {
  return refs !== undefined && isList(refs) ? refs.map(textOf) : [];
}
