import { XapiFault } from "./fault.js";
import { isMap, textOf } from "./value.js";
import type { XenPool } from "./xen-pool.js";

/** What may be done with a snapshot. */
const OF_SNAPSHOTS = new Set(["revert", "clone", "copy", "export", "metadata_export", "destroy", "hard_shutdown"]);
const NOT_OF_TEMPLATES = new Set(["start", "start_on", "clean_shutdown", "suspend", "resume", "checkpoint", "pause"]);

/** @throws XapiFault OPERATION_BLOCKED, VM_IS_SNAPSHOT, VM_IS_TEMPLATE, OPERATION_NOT_ALLOWED */
export function assertVmAllows(pool: XenPool, vm: string, operation: string): void {
  const row = pool.database.row("VM", vm);
  const blocked = row["blocked_operations"] ?? "";
  if (isMap(blocked) && Object.hasOwn(blocked, operation)) {
    throw new XapiFault("OPERATION_BLOCKED", vm, textOf(blocked[operation]));
  }
  if (row["is_a_snapshot"] === true) {
    if (!OF_SNAPSHOTS.has(operation)) throw new XapiFault("VM_IS_SNAPSHOT", vm, operation);
    return;
  }
  if (row["is_a_template"] === true && NOT_OF_TEMPLATES.has(operation)) {
    throw new XapiFault("VM_IS_TEMPLATE", vm, operation);
  }
  if (row["is_control_domain"] === true) {
    throw new XapiFault("OPERATION_NOT_ALLOWED", `Operation ${operation} is not allowed on control domains`);
  }
}

/** @throws XapiFault VM_BAD_POWER_STATE with states in lower case */
export function assertPower(pool: XenPool, vm: string, allowed: readonly string[]): void {
  const state = pool.database.text("VM", vm, "power_state");
  if (allowed.includes(state)) return;
  throw new XapiFault("VM_BAD_POWER_STATE", vm, allowed.join(", ").toLowerCase(), state.toLowerCase());
}
