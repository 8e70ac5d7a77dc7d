import { randomUUID } from "node:crypto";
import type { Row } from "../database/database.js";
import { XapiFault } from "../fault.js";
import { generatedMac } from "../mac-address.js";
import { copyDisk } from "../new-disk.js";
import { during } from "../operations.js";
import { method, type Method, type MethodCall } from "../rpc/method.js";
import { newRecord } from "../rpc/new-record.js";
import { deleteDisk } from "../snapshots.js";
import { EPOCH, isMap, NULL_REF, textOf } from "../value.js";
import { assertPower, assertVmAllows } from "../vm-rules.js";
import { freeDevices } from "./device-calls.js";

const ADMIN = { role: "vm-admin" } as const;

/** The fields of VM.create that have no default. */
const NEEDED = [
  "user_version is_a_template affinity memory_static_max memory_dynamic_max memory_dynamic_min memory_static_min",
  "VCPUs_params VCPUs_max VCPUs_at_startup actions_after_shutdown actions_after_reboot actions_after_crash",
  "PV_bootloader PV_kernel PV_ramdisk PV_args PV_bootloader_args PV_legacy_args HVM_boot_policy HVM_boot_params",
  "platform PCI_bus other_config recommendations",
].join(" ");

/** Calls that make machines, or change what kind they are. */
export const VM_MAKING_CALLS: readonly Method[] = [
  method("VM.create", { ...ADMIN, takes: "record:record" }, createVm),
  method("VM.clone", { ...ADMIN, takes: "vm:VM new_name" }, (call) => duplicate(call, "clone", () => undefined)),
  method("VM.copy", { ...ADMIN, takes: "vm:VM new_name sr:ref" }, (call) =>
    duplicate(call, "copy", () => (call.args.text("sr") === NULL_REF ? undefined : call.args.text("sr"))),
  ),
  method("VM.set_is_a_template", { ...ADMIN, isAsync: false, takes: "self:VM value:bool" }, ({ pool, args }) => {
    const vm = args.text("self");
    if (args.flag("value")) assertPower(pool, vm, ["Halted"]);
    pool.database.update("VM", vm, { is_a_template: args.flag("value") });
    return "";
  }),
  method("VM.provision", { ...ADMIN, takes: "vm:VM" }, ({ pool, args }) => {
    const vm = args.text("vm");
    if (pool.database.row("VM", vm)["is_a_template"] !== true) {
      throw new XapiFault("PROVISION_ONLY_ALLOWED_ON_TEMPLATE");
    }
    pool.database.update("VM", vm, { is_a_template: false });
    return "";
  }),
  method("VM.get_allowed_VBD_devices", { role: "read-only", isAsync: false, takes: "vm:VM" }, ({ pool, args }) => {
    const vbds = pool.database.where("VBD", "VM", args.text("vm"));
    return freeDevices(new Set(vbds.map((vbd) => pool.database.text("VBD", vbd, "userdevice"))));
  }),
];

function createVm({ pool: { database }, args }: MethodCall): string {
  const fields = newRecord("VM", args.map("record"), NEEDED);
  const other = fields["other_config"] ?? "";
  const seeded =
    isMap(other) && other["mac_seed"] !== undefined
      ? other
      : { ...(isMap(other) ? other : {}), mac_seed: randomUUID() };
  return database.create("VM", {
    ...fields,
    uuid: randomUUID(),
    other_config: seeded,
    power_state: fields["power_state"] === "Suspended" ? "Suspended" : "Halted",
    is_a_snapshot: false,
    snapshot_of: NULL_REF,
    is_control_domain: false,
    resident_on: NULL_REF,
    domid: -1,
    metrics: database.create("VM_metrics", { uuid: randomUUID(), install_time: new Date() }),
    guest_metrics: NULL_REF,
  });
}

/** A machine of its own with disks of its own. */
function duplicate(
  { pool, args, task }: MethodCall,
  operation: "clone" | "copy",
  target: () => string | undefined,
): Promise<string> {
  const { database } = pool;
  const vm = args.text("vm");
  assertVmAllows(pool, vm, operation);
  assertPower(pool, vm, database.row("VM", vm)["is_a_snapshot"] === true ? ["Halted", "Suspended"] : ["Halted"]);
  return during(database, { className: "VM", ref: vm, operation, task: task.ref }, async () => {
    const disks = new Map<string, string>();
    try {
      for (const vbd of database.where("VBD", "VM", vm)) {
        const row = database.row("VBD", vbd);
        if (row["type"] !== "Disk" || row["empty"] === true) continue;
        const vdi = textOf(row["VDI"]);
        disks.set(vdi, await copyDisk(pool, vdi, target() ?? database.text("VDI", vdi, "SR")));
      }
      task.signal.throwIfAborted();
    } catch (error) {
      for (const vdi of disks.values()) await deleteDisk(pool, vdi);
      throw error;
    }
    return recordDuplicate(pool.database.row("VM", vm), { call: { pool, args }, vm, disks });
  });
}

interface Duplicate {
  readonly call: Pick<MethodCall, "pool" | "args">;
  readonly vm: string;
  readonly disks: ReadonlyMap<string, string>;
}

function recordDuplicate(source: Row, { call: { pool, args }, vm, disks }: Duplicate): string {
  const { database } = pool;
  const seed = randomUUID();
  const other = source["other_config"] ?? "";
  const made = database.create("VM", {
    ...source,
    uuid: randomUUID(),
    name_label: args.text("new_name"),
    power_state: "Halted",
    is_a_snapshot: false,
    snapshot_of: NULL_REF,
    snapshot_time: EPOCH,
    snapshot_info: {},
    snapshot_metadata: "",
    suspend_VDI: NULL_REF,
    parent: NULL_REF,
    current_operations: {},
    other_config: { ...(isMap(other) ? other : {}), mac_seed: seed },
    metrics: database.create("VM_metrics", { uuid: randomUUID() }),
    guest_metrics: NULL_REF,
  });
  const detached = { currently_attached: false, current_operations: {} };
  for (const vbd of database.where("VBD", "VM", vm)) {
    const row = database.row("VBD", vbd);
    const vdi = disks.get(textOf(row["VDI"])) ?? textOf(row["VDI"]);
    database.create("VBD", { ...row, ...detached, uuid: randomUUID(), VM: made, VDI: vdi, device: "" });
  }
  for (const vif of database.where("VIF", "VM", vm)) {
    const row = database.row("VIF", vif);
    const MAC = generatedMac(seed, textOf(row["device"]));
    database.create("VIF", { ...row, ...detached, uuid: randomUUID(), VM: made, MAC, MAC_autogenerated: true });
  }
  return made;
}
