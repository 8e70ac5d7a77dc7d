import { type ArchiveContents, type ImportedObject, textMap } from "../../archive/archive-contents.js";
import { XapiFault } from "../../fault.js";
import { textOf } from "../../value.js";
import { assertPower } from "../../vm-rules.js";
import type { XenPool } from "../../xen-pool.js";

/** What a full restore finds in the pool already. */
export interface Replacement {
  /** VMs of the archive that are left alone. */
  readonly skipped: ReadonlySet<ImportedObject>;
  /** References of VMs that make room for those of the archive. */
  readonly replaced: readonly string[];
}

/**
 * Looks for the VMs of an archive that keeps their uuids and MAC addresses.
 * @throws XapiFault VM_BAD_POWER_STATE, VM_TO_IMPORT_IS_NOT_NEWER_VERSION, DUPLICATE_VM or DUPLICATE_MAC_SEED
 */
export function findDuplicates(pool: XenPool, contents: ArchiveContents, isForced: boolean): Replacement {
  const skipped = new Set<ImportedObject>();
  const replaced: string[] = [];
  for (const vm of contents.of("VM")) {
    assertSeedIsFree(pool, contents, vm);
    const [existing] = pool.database.where("VM", "uuid", vm.fields["uuid"] ?? "");
    if (existing === undefined) continue;
    if (isForced && pool.database.text("VM", existing, "power_state") !== "Halted") {
      skipped.add(vm);
      continue;
    }
    assertPower(pool, existing, ["Halted"]);
    const [old, given] = [pool.database.row("VM", existing)["version"], vm.fields["version"]];
    if (!isForced && Number(old) >= Number(given)) {
      throw new XapiFault("VM_TO_IMPORT_IS_NOT_NEWER_VERSION", existing, String(Number(old)), String(Number(given)));
    }
    replaced.push(existing);
  }
  return { skipped, replaced };
}

/** Two VMs of one seed would get the same MAC addresses, unless one is the other's snapshot or both are of the same VM. */
function assertSeedIsFree({ database, profile }: XenPool, contents: ArchiveContents, { fields }: ImportedObject): void {
  const seed = textMap(fields["other_config"])["mac_seed"];
  if (seed === undefined) return;
  const source = contents.get("VM", fields["snapshot_of"])?.fields["uuid"];
  const family = source ?? fields["uuid"];
  for (const [, row] of database.rows("VM")) {
    if (textMap(row["other_config"])["mac_seed"] !== seed || row["uuid"] === fields["uuid"]) continue;
    const sourceRef = textOf(row["snapshot_of"]);
    const known = database.has("VM", sourceRef) ? database.text("VM", sourceRef, "uuid") : row["uuid"];
    if (known === family) continue;
    throw new XapiFault(profile.duplicateSeed, profile.duplicateSeed === "DUPLICATE_VM" ? textOf(row["uuid"]) : seed);
  }
}

/** Makes room: the record goes with its devices, its disks stay behind and belong to nobody. */
export function removeReplaced({ database }: XenPool, vms: readonly string[]): void {
  for (const vm of vms) {
    for (const className of ["VBD", "VIF"]) {
      for (const device of database.where(className, "VM", vm)) database.delete(className, device);
    }
    database.delete("VM", vm);
  }
}
