import type { Bytes } from "../../units.js";
import { GIB } from "../../units.js";
import { NULL_REF } from "../xapi/value.js";
import type { OvaObject } from "./ova.js";
import {
  rpcArray,
  rpcBoolean,
  rpcDate,
  type RpcStruct,
  rpcStruct,
  rpcText,
  type RpcValue,
  textOf,
} from "./rpc-value.js";

/** What XAPI writes for "never". */
export const NO_TIME = rpcDate("19700101T00:00:00Z");
/** Beyond, a VHD is impossible, and a store needs to be told to use another format. */
const VHD_BYTES_MAX = 2040 * GIB;

/** Values that somebody may have typed: what looks like a reference there is none. */
const TYPED_FIELDS: readonly string[] = [
  "name_label",
  "name_description",
  "reference_label",
  "tags",
  "location",
  "PV_args",
  "PV_bootloader",
  "PV_bootloader_args",
  "PV_kernel",
  "PV_legacy_args",
  "PV_ramdisk",
];
const REFERENCE = /^(Ref:\d+|OpaqueRef:\S*)$/;
/** What vmmount notes down in a pool for itself: a VM made of the archive would be taken for the one that it was noted about. */
const OWN_KEYS = "vmmount-";

const no = rpcBoolean(false);
const nothing = rpcText(NULL_REF);
const none = rpcArray();
const noMap = rpcStruct();

/** Operations of the pool that wrote the archive: none is under way in one that reads it. */
const OPERATIONS = { allowed_operations: none, current_operations: noMap };

/** What makes a record of a snapshot, or of a running VM, that of a VM that is shut down. */
const VM_FIELDS: Readonly<Record<string, RpcValue>> = {
  ...OPERATIONS,
  power_state: rpcText("Halted"),
  is_a_template: no,
  is_default_template: no,
  is_a_snapshot: no,
  is_snapshot_from_vmpp: no,
  is_vmss_snapshot: no,
  snapshot_of: nothing,
  snapshots: none,
  snapshot_time: NO_TIME,
  snapshot_info: noMap,
  snapshot_metadata: rpcText(""),
  transportable_snapshot_id: rpcText(""),
  parent: nothing,
  children: none,
  suspend_VDI: nothing,
  suspend_SR: nothing,
  resident_on: nothing,
  scheduled_to_be_resident_on: nothing,
  affinity: nothing,
  metrics: nothing,
  guest_metrics: nothing,
  consoles: none,
  crash_dumps: none,
  blobs: noMap,
  appliance: nothing,
  protection_policy: nothing,
  snapshot_schedule: nothing,
  groups: none,
  VTPMs: none,
  domid: rpcText("-1"),
};

const VDI_FIELDS: Readonly<Record<string, RpcValue>> = {
  ...OPERATIONS,
  is_a_snapshot: no,
  snapshot_of: nothing,
  snapshots: none,
  snapshot_time: NO_TIME,
  parent: nothing,
  cbt_enabled: no,
  managed: rpcBoolean(true),
  missing: no,
  storage_lock: no,
  crash_dumps: none,
  metadata_of_pool: nothing,
  physical_utilisation: rpcText("0"),
};

const SR_FIELDS: Readonly<Record<string, RpcValue>> = {
  ...OPERATIONS,
  // They change all the time, and the file is to be the same whenever it is looked at.
  physical_size: rpcText("0"),
  physical_utilisation: rpcText("0"),
  virtual_allocation: rpcText("0"),
};

const NETWORK_FIELDS: Readonly<Record<string, RpcValue>> = { ...OPERATIONS, assigned_ips: noMap };

/** Of VBD and VIF. */
const DEVICE_FIELDS: Readonly<Record<string, RpcValue>> = {
  ...OPERATIONS,
  currently_attached: no,
  metrics: nothing,
  storage_lock: no,
};

const FIELDS: ReadonlyMap<string, Readonly<Record<string, RpcValue>>> = new Map([
  ["VM", VM_FIELDS],
  ["VDI", VDI_FIELDS],
  ["VBD", DEVICE_FIELDS],
  ["VIF", DEVICE_FIELDS],
  ["VGPU", DEVICE_FIELDS],
  ["SR", SR_FIELDS],
  ["network", NETWORK_FIELDS],
]);

/**
 * The record as it goes into the archive: nothing of its pool's life, references by their new ids, and none to objects
 * that are left out. Fields that nobody knows here stay as they are.
 */
export function editedRecord(object: OvaObject, ids: ReadonlyMap<string, string>): RpcStruct {
  const fields = FIELDS.get(object.class) ?? {};
  return rpcStruct(
    [...object.record.members].map(([name, value]) => {
      const given = Object.hasOwn(fields, name) ? fields[name] : undefined;
      return [name, given ?? (TYPED_FIELDS.includes(name) ? value : withNewIds(value, ids))] as const;
    }),
  );
}

export function editedVm(record: RpcStruct, edits: { readonly name: string; readonly asUuid: string }): RpcStruct {
  return rpcStruct([...record.members, ["name_label", rpcText(edits.name)], ["uuid", rpcText(edits.asUuid)]]);
}

/** @param edits.isWritten the VM writes to it */
export function editedVdi(
  record: RpcStruct,
  edits: { readonly name: string | undefined; readonly size: Bytes; readonly isWritten: boolean },
): RpcStruct {
  const { name, size, isWritten } = edits;
  const fields: [string, RpcValue][] = [
    ["virtual_size", rpcText(String(size))],
    ["sm_config", storeSettings(record, size)],
  ];
  if (name !== undefined) fields.push(["name_label", rpcText(name)]);
  if (isWritten) fields.push(["read_only", no]);
  return rpcStruct([...record.members, ...fields]);
}

/** They name the volumes of the store that the disk comes from, and would be passed to the one that it goes to. */
function storeSettings(record: RpcStruct, size: Bytes): RpcStruct {
  const given = record.members.get("sm_config");
  const format = given?.kind === "struct" ? given.members.get("image-format") : undefined;
  if (size <= VHD_BYTES_MAX || textOf(format) !== "qcow2") return rpcStruct();
  return rpcStruct([["image-format", rpcText("qcow2")]]);
}

function withoutOwnKeys(map: RpcStruct): RpcStruct {
  const names = [...map.members.keys()];
  if (!names.some((name) => name.startsWith(OWN_KEYS))) return map;
  return rpcStruct([...map.members].filter(([name]) => !name.startsWith(OWN_KEYS)));
}

function withNewIds(value: RpcValue, ids: ReadonlyMap<string, string>): RpcValue {
  // The keys and values of a map are no references, but for the maps that are emptied above.
  if (value.kind === "struct") return withoutOwnKeys(value);
  if (value.kind === "scalar") {
    const id = ids.get(value.text);
    if (id !== undefined) return rpcText(id);
    return REFERENCE.test(value.text) ? nothing : value;
  }
  const items = value.items.filter((item) => ids.has(textOf(item) ?? "") || !REFERENCE.test(textOf(item) ?? ""));
  const isSetOfReferences = items.length > 0 && items.every((item) => ids.has(textOf(item) ?? ""));
  const renamed = items.map((item) => (item.kind === "scalar" ? withNewIds(item, ids) : item));
  // A set has no order, and hosts write it in any.
  if (isSetOfReferences) renamed.sort((a, b) => ((textOf(a) ?? "") < (textOf(b) ?? "") ? -1 : 1));
  return rpcArray(renamed);
}
