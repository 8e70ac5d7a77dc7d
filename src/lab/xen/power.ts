import { randomUUID } from "node:crypto";
import { XapiFault } from "./fault.js";
import { createGuestMetrics } from "./first-rows.js";
import { newDisk } from "./new-disk.js";
import type { PoolHost } from "./pool-host.js";
import { deleteDisk } from "./snapshots.js";
import { EPOCH, NULL_REF, textOf } from "./value.js";
import { assertPower } from "./vm-rules.js";
import type { XenPool } from "./xen-pool.js";

/** Bytes that every suspend image holds: the lab's guests have no memory that is worth more. */
const SUSPEND_IMAGE_BYTES = 2 * 1024 * 1024;

/** Runs a halted machine on a host that sees all of its disks. @throws XapiFault VM_REQUIRES_SR, VDI_IN_USE */
export function powerOn(pool: XenPool, vm: string): void {
  assertPower(pool, vm, ["Halted"]);
  run(pool, vm);
}

/** Goes on where the machine was suspended; the image of its memory goes. */
export async function resume(pool: XenPool, vm: string): Promise<void> {
  assertPower(pool, vm, ["Suspended"]);
  const image = pool.database.text("VM", vm, "suspend_VDI");
  run(pool, vm);
  pool.database.update("VM", vm, { suspend_VDI: NULL_REF });
  if (pool.database.has("VDI", image)) await deleteDisk(pool, image);
}

/** Off, without its memory. */
export async function powerOff(pool: XenPool, vm: string): Promise<void> {
  const image = pool.database.text("VM", vm, "suspend_VDI");
  stop(pool, vm, "Halted");
  pool.database.update("VM", vm, { suspend_VDI: NULL_REF });
  if (pool.database.has("VDI", image)) await deleteDisk(pool, image);
}

/** Off, with its memory in a disk of type suspend. */
export async function suspend(pool: XenPool, vm: string): Promise<void> {
  assertPower(pool, vm, ["Running"]);
  const { database } = pool;
  const own = database.text("VM", vm, "suspend_SR");
  const sr = own === NULL_REF ? database.text("pool", pool.poolRef, "suspend_image_SR") : own;
  if (!database.has("SR", sr)) throw new XapiFault("VM_NO_SUSPEND_SR", vm);
  const image = await newDisk(pool, sr, SUSPEND_IMAGE_BYTES, { name_label: "Suspend image", type: "suspend" });
  await pool.store.write(image, 0, Buffer.from(`LinuxGuestRecord ${randomUUID()}`));
  stop(pool, vm, "Suspended");
  database.update("VM", vm, { suspend_VDI: image });
}

function run(pool: XenPool, vm: string): void {
  const { database } = pool;
  const host = hostFor(pool, vm);
  for (const vbd of database.where("VBD", "VM", vm)) {
    const row = database.row("VBD", vbd);
    const vdi = textOf(row["VDI"]);
    if (row["type"] === "Disk" && pool.attachments.holders(vdi).length > 0) {
      throw new XapiFault("VDI_IN_USE", vdi, "attach");
    }
  }
  for (const vbd of database.where("VBD", "VM", vm)) {
    const number = Number(database.text("VBD", vbd, "userdevice"));
    database.update("VBD", vbd, { currently_attached: true, device: `xvd${String.fromCharCode(97 + number)}` });
  }
  for (const vif of database.where("VIF", "VM", vm)) database.update("VIF", vif, { currently_attached: true });
  const metrics = database.text("VM", vm, "metrics");
  if (database.has("VM_metrics", metrics)) database.update("VM_metrics", metrics, { start_time: new Date() });
  const guest = database.text("VM", vm, "guest_metrics");
  database.update("VM", vm, {
    power_state: "Running",
    resident_on: host.ref,
    domid: Math.max(...database.rows("VM").map(([, row]) => Number(row["domid"]))) + 1,
    guest_metrics: database.has("VM_guest_metrics", guest) ? guest : newGuestMetrics(pool, vm),
  });
}

function stop(pool: XenPool, vm: string, power_state: "Halted" | "Suspended"): void {
  const { database } = pool;
  for (const className of ["VBD", "VIF"]) {
    const device = className === "VBD" ? { device: "" } : {};
    for (const part of database.where(className, "VM", vm)) {
      database.update(className, part, { currently_attached: false, ...device });
    }
  }
  const guest = database.text("VM", vm, "guest_metrics");
  if (power_state === "Halted" && database.has("VM_guest_metrics", guest)) database.delete("VM_guest_metrics", guest);
  const metrics = database.text("VM", vm, "metrics");
  if (database.has("VM_metrics", metrics)) database.update("VM_metrics", metrics, { start_time: EPOCH });
  database.update("VM", vm, {
    power_state,
    resident_on: NULL_REF,
    domid: -1,
    ...(power_state === "Halted" ? { guest_metrics: NULL_REF } : {}),
  });
}

function newGuestMetrics(pool: XenPool, vm: string): string {
  const uuid = pool.database.text("VM", vm, "uuid");
  const known = pool.config.machines.find((machine) => machine.uuid === uuid);
  return createGuestMetrics(pool.database, { ip: known?.ip, quiesces: known?.quiesces ?? false });
}

/** @throws XapiFault VM_REQUIRES_SR when no host that runs sees every disk */
function hostFor(pool: XenPool, vm: string): PoolHost {
  const { database } = pool;
  const srs = database
    .where("VBD", "VM", vm)
    .map((vbd) => database.text("VBD", vbd, "VDI"))
    .filter((vdi) => vdi !== NULL_REF)
    .map((vdi) => database.text("VDI", vdi, "SR"));
  const alive = pool.hosts.filter((host) => host.isRunning && database.row("host", host.ref)["enabled"] === true);
  const found = alive.find((host) => srs.every((sr) => pool.attachments.sees(host, sr)));
  if (found !== undefined) return found;
  const missing = srs.find((sr) => !alive.some((host) => pool.attachments.sees(host, sr)));
  if (alive.length === 0 || missing === undefined) throw new XapiFault("NO_HOSTS_AVAILABLE");
  throw new XapiFault("VM_REQUIRES_SR", vm, missing);
}
