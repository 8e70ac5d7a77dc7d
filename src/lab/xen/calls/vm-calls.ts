import { XapiFault } from "../fault.js";
import { guestQuiesces } from "../guest-drivers.js";
import { during } from "../operations.js";
import type { MethodCall } from "../rpc/method.js";
import { method, type Method } from "../rpc/method.js";
import { snapshotMachine } from "../snapshots.js";
import { NULL_REF, textOf } from "../value.js";
import { assertPower, assertVmAllows } from "../vm-rules.js";

const ADMIN = { role: "vm-admin" } as const;
const SNAPSHOTS = { role: "vm-power-admin", operation: "snapshot" } as const;

/** Calls on snapshots and on the life of a machine's record. */
export const VM_CALLS: readonly Method[] = [
  method("VM.snapshot", { ...SNAPSHOTS, takes: "vm:VM new_name ignore_vdis:VDI[]?@8.3" }, (call) =>
    snapshot(call, false),
  ),
  method("VM.snapshot_with_quiesce", { ...SNAPSHOTS, takes: "vm:VM new_name", removed: "8.2" }, (call) => {
    const vm = call.args.text("vm");
    if (!guestQuiesces(call.pool.database, vm))
      throw new XapiFault("VM_SNAPSHOT_WITH_QUIESCE_NOT_SUPPORTED", vm, "VSS is not there");
    return snapshot(call, true);
  }),
  method("VM.destroy", { ...ADMIN, takes: "self:VM" }, (call) => destroy(call)),
];

function snapshot({ pool, args, task }: MethodCall, isQuiesced: boolean): Promise<string> {
  const vm = args.text("vm");
  assertVmAllows(pool, vm, "snapshot");
  return during(pool.database, { className: "VM", ref: vm, operation: "snapshot", task: task.ref }, () =>
    snapshotMachine(pool, {
      vm,
      name: args.text("new_name"),
      ignored: new Set(args.texts("ignore_vdis")),
      isQuiesced,
      task,
    }),
  );
}

/** Never touches VDIs. */
function destroy({ pool, args, task }: MethodCall): Promise<string> {
  const { database } = pool;
  const vm = args.text("self");
  const row = database.row("VM", vm);
  if (row["is_default_template"] === true) throw new XapiFault("VM_CANNOT_DELETE_DEFAULT_TEMPLATE", vm);
  if (row["is_control_domain"] === true)
    throw new XapiFault("OPERATION_NOT_ALLOWED", "Control domains cannot be destroyed");
  assertVmAllows(pool, vm, "destroy");
  assertPower(pool, vm, ["Halted", "Suspended"]);
  return during(database, { className: "VM", ref: vm, operation: "destroy", task: task.ref }, () => {
    for (const className of ["VBD", "VIF", "console"]) {
      for (const part of database.where(className, "VM", vm)) database.delete(className, part);
    }
    for (const [className, field] of [
      ["VM_metrics", "metrics"],
      ["VM_guest_metrics", "guest_metrics"],
    ] as const) {
      const ref = textOf(row[field]);
      if (database.has(className, ref)) database.delete(className, ref);
    }
    for (const child of database.where("VM", "parent", vm))
      database.update("VM", child, { parent: row["parent"] ?? NULL_REF });
    for (const [ref, message] of database.rows("message")) {
      if (message["obj_uuid"] === row["uuid"]) database.delete("message", ref);
    }
    database.delete("VM", vm);
    return Promise.resolve("");
  });
}
