import type { CallOptions, Snapshot } from "../hypervisor.js";
import { lacksDescription } from "./described.js";
import { isVm, needVm, unlessGone } from "./inventory.js";
import { markedDisks, readMark, type RemovalMark, toHalfRemoved } from "./removal-mark.js";
import { date, isSet, map, reference, references, text, toRecord } from "./xapi/fields.js";
import { recordsOf, toRecords } from "./xapi/pool-facts.js";
import { XapiFault } from "./xapi/fault.js";
import type { XapiRecord } from "./xapi/value.js";
import type { Xapi } from "./xapi/xapi.js";

type Calls = Pick<Xapi, "call">;

/**
 * All snapshots of the VM, parents before children, and those of which only disks are left because their removal stopped
 * half-way.
 * @param everywhere looks for such disks in the whole pool, not only among the snapshots of the VM's present disks
 * @throws NotFoundError when the VM is gone, XapiFault
 */
export async function listSnapshots(
  vm: string,
  xapi: Calls,
  { everywhere, ...options }: CallOptions & { readonly everywhere: boolean },
): Promise<Snapshot[]> {
  const source = await needVm(vm, xapi, options);
  const refs = references(source.record, "snapshots");
  const [found, marks] = await Promise.all([
    Promise.all(refs.map((ref) => unlessGone(() => xapi.call("VM.get_record", [ref], options)))),
    everywhere ? marksOfPool(vm, xapi, options) : marksOfDisks(source.ref, xapi, options),
  ]);
  const records = new Map<string, XapiRecord>();
  refs.forEach((ref, index) => {
    const record = found[index];
    if (record !== undefined) records.set(ref, toRecord(record, "a snapshot"));
  });
  const whole = [...records].map(([, record]) => toSnapshot(record, depthOf(record, records)));
  const sorted = whole.sort((a, b) => a.depth - b.depth || a.createdAt.getTime() - b.createdAt.getTime());
  const known = new Set(sorted.map(({ ref }) => ref));
  const halves = new Map(marks.map((mark) => [mark.snapshot, mark]));
  return [...sorted, ...[...halves.values()].filter(({ snapshot }) => !known.has(snapshot)).map(toHalfRemoved)];
}

/**
 * Snapshots whose VM was deleted or made a template, since their records and disks stay, and what half removals left that hangs on no disk of
 * a VM, so that no look at a VM shows it. @throws XapiFault
 */
export async function listOrphans(xapi: Calls, options: CallOptions): Promise<Snapshot[]> {
  const call = xapi.call.bind(xapi);
  const [vms, vdis] = await Promise.all([recordsOf(call, "VM", options), recordsOf(call, "VDI", options)]);
  const uuids = new Set([...vms.values()].map((record) => text(record, "uuid")));
  const whole = [...vms.values()]
    .filter((record) => isSet(record, "is_a_snapshot") && !isVmAt(vms.get(text(record, "snapshot_of"))))
    .map((record) => toSnapshot(record, 1));
  const isOnVm = (vdi: XapiRecord, uuid: string): boolean => {
    const vm = [...vms.values()].find((record) => text(record, "uuid") === uuid);
    const source = vdis.get(text(vdi, "snapshot_of"));
    if (vm === undefined || source === undefined) return false;
    return references(source, "VBDs").some((vbd) => references(vm, "VBDs").includes(vbd));
  };
  const halves = [...vdis.values()].flatMap((vdi) => {
    const mark = readMark(vdi);
    return mark === undefined || uuids.has(mark.snapshot) || isOnVm(vdi, mark.vm) ? [] : [mark];
  });
  return [...whole, ...new Map(halves.map((mark) => [mark.snapshot, toHalfRemoved(mark)])).values()];
}

function isVmAt(record: XapiRecord | undefined): boolean {
  return record !== undefined && isVm(record);
}

async function marksOfPool(vm: string, xapi: Calls, options: CallOptions): Promise<RemovalMark[]> {
  return (await markedDisks(xapi, options)).map(({ mark }) => mark).filter((mark) => mark.vm === vm);
}

/** The snapshots of the VM's present disks: two calls with short answers. */
async function marksOfDisks(vm: string, xapi: Calls, options: CallOptions): Promise<RemovalMark[]> {
  const vbds = await recordsWhere("VBD", { field: "VM", values: [vm] }, xapi, options);
  const disks = vbds.map((vbd) => reference(vbd, "VDI")).filter((ref) => ref !== undefined);
  if (disks.length === 0) return [];
  const vdis = await recordsWhere("VDI", { field: "snapshot_of", values: disks }, xapi, options);
  return vdis.map(readMark).filter((mark) => mark !== undefined);
}

/** References have no quotes in them. */
async function recordsWhere(
  klass: string,
  { field, values }: { readonly field: string; readonly values: readonly string[] },
  xapi: Calls,
  options: CallOptions,
): Promise<XapiRecord[]> {
  const expression = values.map((value) => `field "${field}" = "${value}"`).join(" or ");
  const matches = (record: XapiRecord): boolean => values.includes(text(record, field));
  try {
    const answer = await xapi.call(`${klass}.get_all_records_where`, [expression], options);
    return [...toRecords(answer, klass).values()].filter(matches);
  } catch (error) {
    if (!(error instanceof XapiFault) || !error.is("MESSAGE_METHOD_UNKNOWN", "INVALID_VALUE")) throw error;
    return [...(await recordsOf(xapi.call.bind(xapi), klass, options)).values()].filter(matches);
  }
}

/** 1 = no parent among the VM's snapshots. */
function depthOf(record: XapiRecord, records: ReadonlyMap<string, XapiRecord>): number {
  let depth = 1;
  // A cycle ends at the number of snapshots.
  for (let at = records.get(text(record, "parent")); at !== undefined && depth <= records.size; depth++) {
    at = records.get(text(at, "parent"));
  }
  return depth;
}

function toSnapshot(record: XapiRecord, depth: number): Snapshot {
  return {
    ref: text(record, "uuid"),
    name: text(record, "name_label"),
    description: text(record, "name_description"),
    createdAt: date(record, "snapshot_time"),
    quiesced: map(record, "snapshot_info").get("disk-snapshot-type") === "quiesced",
    depth,
    ...(lacksDescription(record) && { lacksDescription: true }),
  };
}
