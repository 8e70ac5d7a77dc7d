import type { CallOptions, DiskDescription, DiskNode } from "../hypervisor.js";
import { unlessGone } from "./inventory.js";
import { isThin, type SnapshotSupport, whyNoSnapshot } from "./storage.js";
import { isSet, reference, references, size, text, toRecord } from "./xapi/fields.js";
import type { XapiRecord } from "./xapi/value.js";
import type { Xapi } from "./xapi/xapi.js";

/** A disk of a VM or snapshot with the records that describe it. */
export interface VmDisk {
  readonly vbd: XapiRecord;
  readonly vdiRef: string;
  readonly vdi: XapiRecord;
  readonly srRef: string;
  readonly sr: XapiRecord;
}

/** The disks of a VM record in the order of their device numbers; CDs and empty drives are none. @throws XapiFault */
export async function loadDisks(vm: XapiRecord, xapi: Pick<Xapi, "call">, options: CallOptions): Promise<VmDisk[]> {
  const storages = new Map<string, Promise<XapiRecord>>();
  const read = async (klass: string, ref: string): Promise<XapiRecord> =>
    toRecord(await xapi.call(`${klass}.get_record`, [ref], options), `a ${klass}`);
  const storage = (ref: string): Promise<XapiRecord> => {
    const known = storages.get(ref) ?? read("SR", ref);
    storages.set(ref, known);
    return known;
  };
  const one = async (ref: string): Promise<VmDisk | undefined> => {
    const vbd = await read("VBD", ref);
    const vdiRef = reference(vbd, "VDI");
    if (text(vbd, "type") !== "Disk" || isSet(vbd, "empty") || vdiRef === undefined) return undefined;
    const vdi = await read("VDI", vdiRef);
    const srRef = text(vdi, "SR");
    return { vbd, vdiRef, vdi, srRef, sr: await storage(srRef) };
  };
  const found = await Promise.all(references(vm, "VBDs").map((ref) => unlessGone(() => one(ref))));
  return found.filter((disk) => disk !== undefined).sort((a, b) => unitOf(a) - unitOf(b));
}

export function describeDisk(disk: VmDisk, support: SnapshotSupport, parents: readonly string[] = []): DiskDescription {
  const { vbd, vdi, sr } = disk;
  const key = text(vbd, "userdevice");
  const node: DiskNode = { bus: "xvd", busNumber: 0, unit: unitOf(disk) };
  const isFrozen = isSet(vdi, "is_a_snapshot");
  return {
    key,
    label: text(vdi, "name_label") || `Disk ${key}`,
    node,
    controllerModel: "xen-vbd",
    capacity: size(vdi, "virtual_size"),
    backing: text(sr, "type"),
    path: `${text(sr, "name_label")}/${text(vdi, "uuid")}`,
    parents,
    mode: text(vbd, "mode"),
    thin: isThin(sr),
    uuid: text(vdi, "uuid"),
    changeId: undefined,
    excludedBecause: isFrozen ? undefined : whyNoSnapshot(vdi, sr, support),
    ...(isSet(vdi, "missing") && { unreadableBecause: "its disk image is missing in the storage repository" }),
  };
}

/** "0", "1" …; some records of old releases say "xvda" or "hda". */
function unitOf({ vbd }: Pick<VmDisk, "vbd">): number {
  const device = text(vbd, "userdevice");
  if (/^\d{1,4}$/.test(device)) return Number(device);
  const [, letters = ""] = /^(?:xvd|hd|sd)([a-z]{1,2})$/.exec(device) ?? [];
  return (
    Array.from(letters).reduce((unit, letter) => (unit + 1) * 26 + letter.charCodeAt(0) - 97, -1) +
    (letters === "" ? 1 : 0)
  );
}
