import type { Database, Row } from "./database/database.js";
import { guestQuiesces } from "./guest-drivers.js";
import { isSince } from "./profile.js";
import { NULL_REF, textOf, type Value } from "./value.js";
import type { VdiStore } from "./vdi-store.js";

const WHILE_RUNNING = ["checkpoint", "clean_shutdown", "hard_shutdown", "clean_reboot", "hard_reboot", "suspend"];

/** SR types that take room for whole disks when they are made. */
const THICK: ReadonlySet<string> = new Set(["lvm", "lvmoiscsi", "lvmohba"]);

export function isThick(type: string): boolean {
  return THICK.has(type);
}

/** Makes the database compute what depends on the bytes of disks and on power states. */
export function computeFields(database: Database, store: VdiStore): void {
  database.compute("VDI", (ref, row) => {
    const thick = isThick(database.text("SR", textOf(row["SR"]), "type"));
    return {
      physical_utilisation: thick ? Number(row["virtual_size"]) : store.usedBytes(ref),
      allowed_operations: vdiOperations(database, ref, row),
    };
  });
  database.compute("SR", (ref, row) => ({ ...srUsage(database, store, ref), allowed_operations: srOperations(row) }));
  database.compute("VM", (ref, row) => ({ allowed_operations: vmOperations(database, ref, row) }));
  database.compute("VBD", (_, row) => ({
    allowed_operations: [row["currently_attached"] === true ? "unplug" : "plug", "attach"],
  }));
}

/** Bytes that the disks of an SR take. */
export function srUsage(
  database: Database,
  store: VdiStore,
  sr: string,
): { readonly physical_utilisation: number; readonly virtual_allocation: number } {
  const thick = isThick(database.text("SR", sr, "type"));
  let [used, virtual] = [0, 0];
  for (const [vdi, row] of database.rows("VDI")) {
    if (row["SR"] !== sr) continue;
    virtual += Number(row["virtual_size"]);
    used += thick ? Number(row["virtual_size"]) : store.usedBytes(vdi);
  }
  return { physical_utilisation: used, virtual_allocation: virtual };
}

function srOperations(row: Row): Value {
  const always = ["scan", "update", "plug", "unplug", "pbd_create", "pbd_destroy"];
  return row["type"] === "iso"
    ? always
    : [
        ...always,
        "vdi_create",
        "vdi_destroy",
        "vdi_resize",
        "vdi_introduce",
        "vdi_clone",
        "vdi_snapshot",
        "vdi_mirror",
      ];
}

function vdiOperations(database: Database, ref: string, row: Row): Value {
  const isPlugged = database
    .where("VBD", "VDI", ref)
    .some((vbd) => database.row("VBD", vbd)["currently_attached"] === true);
  const always = ["snapshot", "generate_config", "update"];
  const idle = ["clone", "copy", "resize", "destroy", "forget"];
  if (Object.keys(row["current_operations"] ?? {}).length > 0) return [];
  return isPlugged ? [...always, "clone"] : [...always, ...idle];
}

function vmOperations(database: Database, ref: string, row: Row): Value {
  if (Object.keys(row["current_operations"] ?? {}).length > 0) return ["changing_VCPUs_live"];
  if (row["is_a_snapshot"] === true) {
    return ["revert", "clone", "copy", "export", "metadata_export", "destroy", "hard_shutdown"];
  }
  const always = ["snapshot", "metadata_export", "changing_VCPUs"];
  if (row["is_a_template"] === true) return [...always, "clone", "copy", "export", "destroy", "provision"];
  const halted = ["export", "clone", "copy", "destroy", "start", "start_on", "make_into_template"];
  switch (row["power_state"]) {
    case "Halted":
      return [...always, ...halted];
    case "Suspended":
      return [...always, "export", "destroy", "resume", "checkpoint", "hard_shutdown"];
    default:
      return [...always, ...quiescedSnapshot(database, ref), ...WHILE_RUNNING];
  }
}

/** Releases before 8.1 list it for guests whose drivers can, later ones for none. */
function quiescedSnapshot(database: Database, vm: string): readonly string[] {
  return !isSince(database.profile.name, "8.2") && guestQuiesces(database, vm) ? ["snapshot_with_quiesce"] : [];
}

/** The VM to which an object belongs or which it is, for rules and counters. */
export function machineOf(database: Database, ref: string): string | undefined {
  if (database.has("VM", ref)) {
    const source = database.text("VM", ref, "snapshot_of");
    return source !== NULL_REF && database.has("VM", source) ? source : ref;
  }
  return database.has("VBD", ref) ? database.text("VBD", ref, "VM") : undefined;
}
