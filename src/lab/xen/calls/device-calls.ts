import { randomUUID } from "node:crypto";
import type { Database } from "../database/database.js";
import { XapiFault } from "../fault.js";
import { checkedMac, generatedMac } from "../mac-address.js";
import { method, type Method, type MethodCall } from "../rpc/method.js";
import { newRecord } from "../rpc/new-record.js";
import { isMap, NULL_REF, textOf } from "../value.js";

const ADMIN = { role: "vm-admin" } as const;
const VBD_NEEDED = "VM VDI userdevice bootable mode type empty other_config qos_algorithm_type qos_algorithm_params";
const VIF_NEEDED = "device network VM MAC MTU other_config qos_algorithm_type qos_algorithm_params";
/** Places for disks. */
const DEVICES_MAX = 16;

/** Calls on what is plugged into machines. */
export const DEVICE_CALLS: readonly Method[] = [
  method("VBD.create", { ...ADMIN, takes: "record:record" }, createVbd),
  method("VBD.destroy", { ...ADMIN, takes: "self:VBD" }, ({ pool: { database }, args }) => {
    const vbd = args.text("self");
    if (database.row("VBD", vbd)["currently_attached"] === true) {
      throw new XapiFault(
        "OPERATION_NOT_ALLOWED",
        `VBD '${database.text("VBD", vbd, "uuid")}' still attached to '${database.text("VBD", vbd, "VM")}'`,
      );
    }
    database.delete("VBD", vbd);
    return "";
  }),
  method("VBD.plug", { ...ADMIN, takes: "self:VBD" }, plugVbd),
  method("VBD.unplug", { ...ADMIN, takes: "self:VBD" }, ({ pool: { database }, args }) => {
    const vbd = args.text("self");
    if (database.row("VBD", vbd)["currently_attached"] !== true) throw new XapiFault("DEVICE_ALREADY_DETACHED", vbd);
    database.update("VBD", vbd, { currently_attached: false, device: "" });
    return "";
  }),
  method("VBD.insert", { ...ADMIN, takes: "vbd:VBD vdi:VDI" }, ({ pool: { database }, args }) => {
    const vbd = args.text("vbd");
    if (database.row("VBD", vbd)["empty"] !== true) throw new XapiFault("VBD_NOT_EMPTY", vbd);
    database.update("VBD", vbd, { VDI: args.text("vdi"), empty: false });
    return "";
  }),
  method("VBD.eject", { ...ADMIN, takes: "vbd:VBD" }, ({ pool: { database }, args }) => {
    const vbd = args.text("vbd");
    const row = database.row("VBD", vbd);
    if (row["type"] !== "CD") throw new XapiFault("VBD_NOT_REMOVABLE_MEDIA", vbd);
    if (row["empty"] === true) throw new XapiFault("VBD_IS_EMPTY", vbd);
    database.update("VBD", vbd, { VDI: NULL_REF, empty: true });
    return "";
  }),
  method("VIF.create", { ...ADMIN, takes: "record:record" }, createVif),
  method("VIF.destroy", { ...ADMIN, takes: "self:VIF" }, ({ pool: { database }, args }) => {
    const vif = args.text("self");
    if (database.row("VIF", vif)["currently_attached"] === true) {
      throw new XapiFault("OPERATION_NOT_ALLOWED", "VIF currently attached to a running VM");
    }
    database.delete("VIF", vif);
    return "";
  }),
  method("VIF.plug", { ...ADMIN, takes: "self:VIF" }, ({ pool: { database }, args }) =>
    setPlugged(database, args.text("self"), true),
  ),
  method("VIF.unplug", { ...ADMIN, takes: "self:VIF" }, ({ pool: { database }, args }) =>
    setPlugged(database, args.text("self"), false),
  ),
];

function createVbd({ pool: { database }, args }: MethodCall): string {
  const fields = newRecord("VBD", args.map("record"), VBD_NEEDED);
  const vm = textOf(fields["VM"]);
  const vdi = textOf(fields["VDI"]);
  database.row("VM", vm);
  const isEmpty = fields["empty"] === true;
  if (!isEmpty) database.row("VDI", vdi);
  if (isEmpty && fields["type"] !== "CD") throw new XapiFault("VBD_NOT_REMOVABLE_MEDIA", NULL_REF);
  const used = new Set(database.where("VBD", "VM", vm).map((vbd) => database.text("VBD", vbd, "userdevice")));
  let userdevice = textOf(fields["userdevice"]);
  if (userdevice === "autodetect") userdevice = freeDevices(used)[0] ?? "";
  if (!/^\d+$/.test(userdevice)) throw new XapiFault("INVALID_DEVICE", userdevice);
  if (used.has(userdevice)) throw new XapiFault("DEVICE_ALREADY_EXISTS", userdevice);
  return database.create("VBD", {
    ...fields,
    VDI: isEmpty ? NULL_REF : vdi,
    userdevice,
    device: "",
    uuid: randomUUID(),
    currently_attached: false,
  });
}

/** Device numbers that are free on a machine. */
export function freeDevices(used: ReadonlySet<string>): string[] {
  return Array.from({ length: DEVICES_MAX }, (_, number) => String(number)).filter((device) => !used.has(device));
}

function plugVbd({ pool, args }: MethodCall): string {
  const { database, attachments } = pool;
  const vbd = args.text("self");
  const row = database.row("VBD", vbd);
  const vm = textOf(row["VM"]);
  if (row["currently_attached"] === true) throw new XapiFault("DEVICE_ALREADY_ATTACHED", vbd);
  const state = database.text("VM", vm, "power_state");
  if (state !== "Running") throw new XapiFault("VM_BAD_POWER_STATE", vm, "running", state.toLowerCase());
  const vdi = textOf(row["VDI"]);
  const holders = vdi === NULL_REF ? [] : attachments.holders(vdi);
  if (holders.some((other) => row["mode"] === "RW" || database.text("VBD", other, "mode") === "RW")) {
    throw new XapiFault("VDI_IN_USE", vdi, "attach");
  }
  const device = `xvd${String.fromCharCode(97 + Number(row["userdevice"]))}`;
  database.update("VBD", vbd, { currently_attached: true, device });
  return "";
}

function createVif({ pool: { database }, args }: MethodCall): string {
  const fields = newRecord("VIF", args.map("record"), VIF_NEEDED);
  const vm = textOf(fields["VM"]);
  const other = database.row("VM", vm)["other_config"] ?? "";
  database.row("network", textOf(fields["network"]));
  const device = textOf(fields["device"]);
  const isTaken = database.where("VIF", "VM", vm).some((vif) => database.text("VIF", vif, "device") === device);
  if (isTaken) throw new XapiFault("DEVICE_ALREADY_EXISTS", device);
  const given = textOf(fields["MAC"]);
  const seed = isMap(other) ? textOf(other["mac_seed"]) : "";
  return database.create("VIF", {
    ...fields,
    uuid: randomUUID(),
    MAC: given === "" ? generatedMac(seed, device) : checkedMac(given),
    MAC_autogenerated: given === "",
    currently_attached: false,
  });
}

function setPlugged(database: Database, vif: string, isPlugged: boolean): string {
  database.update("VIF", vif, { currently_attached: isPlugged });
  return "";
}
