import { XapiFault } from "../fault.js";
import { assertFree } from "../operations.js";
import { method, type Method, type MethodCall } from "../rpc/method.js";
import { deleteDisk, snapshotDisk } from "../snapshots.js";

const ADMIN = { role: "vm-admin" } as const;

export const VDI_CALLS: readonly Method[] = [
  method("VDI.snapshot", { ...ADMIN, takes: "vdi:VDI driver_params:map?" }, ({ pool, args }) =>
    snapshotDisk(pool, args.text("vdi"), args.map("driver_params")),
  ),
  method("VDI.destroy", { ...ADMIN, takes: "self:VDI" }, (call) => destroy(call)),
];

async function destroy({ pool, args, task }: MethodCall): Promise<string> {
  const vdi = args.text("self");
  const { database } = pool;
  assertFree(database, { className: "VDI", ref: vdi, operation: "destroy", task: task.ref });
  if (pool.attachments.holders(vdi).length > 0) throw new XapiFault("VDI_IN_USE", vdi, "destroy");
  if (database.row("VDI", vdi)["managed"] !== true) throw new XapiFault("VDI_NOT_MANAGED", vdi);
  await deleteDisk(pool, vdi);
  return "";
}
