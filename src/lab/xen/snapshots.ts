import { randomUUID } from "node:crypto";
import { forgetBlockHashes } from "./changed-blocks.js";
import { databaseText } from "./database/text.js";
import type { Row } from "./database/database.js";
import { XapiFault } from "./fault.js";
import { assertRoom } from "./room.js";
import type { PoolTask } from "./tasks.js";
import { EPOCH, isMap, newRef, NULL_REF, textOf, type Value } from "./value.js";
import type { XenPool } from "./xen-pool.js";

export interface SnapshotWish {
  readonly vm: string;
  readonly name: string;
  /** Disks to leave out. */
  readonly ignored: ReadonlySet<string>;
  readonly isQuiesced: boolean;
  readonly task: PoolTask;
  /** What snapshot_info says; absent: the state that the machine is in. */
  readonly powerState?: "Running" | "Suspended";
}

/**
 * Snapshots a machine: one disk after the other, then the records. When a disk fails, the snapshots of the ones before
 * are deleted again.
 * @returns reference of the snapshot, which is a VM
 */
export async function snapshotMachine(pool: XenPool, wish: SnapshotWish): Promise<string> {
  const { database } = pool;
  const disks = database
    .where("VBD", "VM", wish.vm)
    .filter((vbd) => !wish.ignored.has(database.text("VBD", vbd, "VDI")));
  const made = new Map<string, string>();
  const epochHint = randomUUID();
  try {
    for (const vbd of disks) {
      wish.task.signal.throwIfAborted();
      const row = database.row("VBD", vbd);
      const vdi = textOf(row["VDI"]);
      if (row["empty"] === true || row["type"] === "CD") continue;
      made.set(vdi, await snapshotDisk(pool, vdi, { epochhint: epochHint }));
      wish.task.setProgress((0.9 * made.size) / disks.length);
    }
    wish.task.signal.throwIfAborted();
  } catch (error) {
    for (const vdi of made.values()) await deleteDisk(pool, vdi);
    throw error;
  }
  return recordSnapshot(pool, wish, { disks, made });
}

/** @throws XapiFault as VDI.snapshot does; what a rule wants for `VDI.snapshot` */
export async function snapshotDisk(pool: XenPool, vdi: string, driverParameters: Row): Promise<string> {
  const { database, store } = pool;
  const row = database.row("VDI", vdi);
  const failure = pool.actions("VDI.snapshot", "", [vdi]).find((action) => action.kind === "fault");
  if (failure?.kind === "fault") throw new XapiFault(failure.name, ...failure.parameters);
  if (row["sharable"] === true) throw new XapiFault("VDI_IS_SHARABLE", vdi);
  if (row["on_boot"] === "reset") throw new XapiFault("VDI_ON_BOOT_MODE_INCOMPATIBLE_WITH_OPERATION");
  const sr = textOf(row["SR"]);
  if (database.text("SR", sr, "type") === "iso") throw new XapiFault("SR_OPERATION_NOT_SUPPORTED", sr);
  assertRoom(pool, sr, Number(row["virtual_size"]));
  const uuid = randomUUID();
  const copy = database.create("VDI", {
    ...row,
    uuid,
    location: uuid,
    managed: true,
    is_a_snapshot: true,
    snapshot_of: vdi,
    snapshot_time: new Date(),
    current_operations: {},
    sm_config: { ...(isMap(row["sm_config"] ?? "") ? (row["sm_config"] as Row) : {}), ...driverParameters },
  });
  try {
    await store.copy(vdi, copy);
  } catch (error) {
    await deleteDisk(pool, copy);
    throw error;
  }
  return copy;
}

/** @throws XapiFault VDI_IN_USE while anything has the disk plugged */
export function assertIdle(pool: XenPool, vdi: string, operation: string): void {
  if (pool.attachments.holders(vdi).length > 0) throw new XapiFault("VDI_IN_USE", vdi, operation);
}

/** Removes a disk with its bytes, the VBDs that name it, and what else refers to it. */
export async function deleteDisk(pool: XenPool, vdi: string): Promise<void> {
  const { database, store } = pool;
  const path = store.path(vdi);
  for (const vbd of database.where("VBD", "VDI", vdi)) database.delete("VBD", vbd);
  for (const vm of database.where("VM", "suspend_VDI", vdi)) database.update("VM", vm, { suspend_VDI: NULL_REF });
  database.delete("VDI", vdi);
  await store.remove(path);
  await forgetBlockHashes(path);
}

/** Makes a checkpoint of a snapshot: it gets a copy of the image of the machine's memory. */
export async function copySuspendImage(pool: XenPool, vm: string, snapshot: string): Promise<void> {
  const image = pool.database.text("VM", vm, "suspend_VDI");
  const copy = pool.database.has("VDI", image) ? await snapshotDisk(pool, image, {}) : NULL_REF;
  pool.database.update("VM", snapshot, { power_state: "Suspended", suspend_VDI: copy });
}

interface Made {
  /** VBDs that are copied. */
  readonly disks: readonly string[];
  /** Snapshot by disk. */
  readonly made: ReadonlyMap<string, string>;
}

function recordSnapshot(
  pool: XenPool,
  { vm, name, isQuiesced, powerState }: SnapshotWish,
  { disks, made }: Made,
): string {
  const { database } = pool;
  const source = database.row("VM", vm);
  const metadata = snapshotMetadata(database.record("VM", vm));
  const snapshot = database.create("VM", {
    ...source,
    ...SNAPSHOT_FIELDS,
    uuid: randomUUID(),
    name_label: name,
    snapshot_of: vm,
    snapshot_time: new Date(),
    snapshot_info: {
      "power-state-at-snapshot": powerState ?? textOf(source["power_state"]),
      "disk-snapshot-type": isQuiesced ? "quiesced" : "crash_consistent",
    },
    snapshot_metadata: metadata,
    other_config: without(source["other_config"], ["default_template", "xensource_internal"]),
    generation_id: `${randomUUID().slice(0, 16)}:${randomUUID().slice(0, 16)}`,
    metrics: copyOf(pool, "VM_metrics", textOf(source["metrics"])),
    guest_metrics: copyOf(pool, "VM_guest_metrics", textOf(source["guest_metrics"])),
  });
  database.update("VM", vm, { parent: snapshot });
  for (const vbd of disks) copyVbd(pool, vbd, snapshot, made);
  for (const vif of database.where("VIF", "VM", vm)) {
    const detached = { currently_attached: false, reserved: false, current_operations: {}, MAC_autogenerated: false };
    database.create("VIF", { ...database.row("VIF", vif), ...detached, uuid: randomUUID(), VM: snapshot });
  }
  database.create("message", {
    uuid: randomUUID(),
    name: "VM_SNAPSHOTTED",
    priority: 5,
    obj_uuid: textOf(source["uuid"]),
    timestamp: new Date(),
    body: `VM '${textOf(source["name_label"])}' snapshotted`,
  });
  return snapshot;
}

/** What a snapshot does not take from its machine. */
const SNAPSHOT_FIELDS: Row = {
  power_state: "Halted",
  is_a_template: true,
  is_default_template: false,
  is_a_snapshot: true,
  resident_on: NULL_REF,
  scheduled_to_be_resident_on: NULL_REF,
  domid: -1,
  suspend_VDI: NULL_REF,
  blobs: {},
  appliance: NULL_REF,
  protection_policy: NULL_REF,
  snapshot_schedule: NULL_REF,
  start_delay: 0,
  shutdown_delay: 0,
  order: 0,
  version: 0,
  blocked_operations: {},
  current_operations: {},
  consoles: [],
  ha_always_run: false,
  ha_restart_priority: "",
};

function copyVbd(pool: XenPool, vbd: string, vm: string, made: ReadonlyMap<string, string>): void {
  const row = pool.database.row("VBD", vbd);
  const isDisk = row["type"] === "Disk";
  const vdi = textOf(row["VDI"]);
  pool.database.create("VBD", {
    ...row,
    uuid: randomUUID(),
    VM: vm,
    VDI: made.get(vdi) ?? vdi,
    device: "",
    currently_attached: false,
    reserved: false,
    current_operations: {},
    other_config: isDisk ? { ...without(row["other_config"], []), owner: "" } : (row["other_config"] ?? {}),
  });
}

function copyOf(pool: XenPool, className: "VM_metrics" | "VM_guest_metrics", ref: string): string {
  if (!pool.database.has(className, ref)) return NULL_REF;
  const times = className === "VM_metrics" ? { start_time: EPOCH } : {};
  return pool.database.create(
    className,
    { ...pool.database.row(className, ref), ...times, uuid: randomUUID() },
    newRef(),
  );
}

/** The record as text of the database, as XAPI keeps it to revert to. */
function snapshotMetadata(record: Row): string {
  const pairs = Object.entries(record).map(
    ([name, value]) => `('${name}' '${databaseText(value).replaceAll("'", "\\'")}')`,
  );
  return `(${pairs.join(" ")})`;
}

function without(value: Value | undefined, keys: readonly string[]): Record<string, Value> {
  const map = value !== undefined && isMap(value) ? value : {};
  return Object.fromEntries(Object.entries(map).filter(([key]) => !keys.includes(key)));
}
