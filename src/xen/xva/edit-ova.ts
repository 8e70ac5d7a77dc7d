import { IntegrityError } from "../../errors.js";
import type { Bytes } from "../../units.js";
import { NULL_REF } from "../xapi/value.js";
import type { XapiVersion } from "../xapi/xapi.js";
import { isIsoLibrary } from "./expected-disks.js";
import { editedRecord, editedVdi, editedVm } from "./edit-records.js";
import { field, type Ova, type OvaObject } from "./ova.js";
import { rpcBoolean, rpcStruct, rpcText, type RpcValue, textOf } from "./rpc-value.js";
import { archiveBytes } from "./tar-header.js";

export interface OvaDisk {
  /** VBD.userdevice: where the disk hangs on the VM. */
  readonly userdevice: string;
  /** Bytes of the image. */
  readonly size: Bytes;
  /** The disk's own name; a snapshot's disk may have another. */
  readonly name?: string | undefined;
}

export interface OvaEdits {
  /** The uuid, in the archive's records, of the VM or snapshot that is to become the VM. */
  readonly uuid: string;
  /** The uuid that it gets; a restore that replaces the VM finds it by this. */
  readonly asUuid: string;
  readonly name: string;
  /** The disks whose bytes the archive will hold; others leave the VM. */
  readonly disks: readonly OvaDisk[];
  /** The newest importer that must take the archive; a version that is lower already stays. */
  readonly xapiMax?: XapiVersion | undefined;
}

export interface EditedOva {
  readonly ova: Ova;
  /** In the order of the archive, each disk once. */
  readonly disks: readonly { readonly userdevice: string; readonly id: string; readonly size: Bytes }[];
}

/** The one version of the layout whose hashes are inline; written since 2007. */
const EXPORT_VERSION = "2";
/** All ids have the same length, so that their order as text is their order as numbers and none begins another. */
const ID_DIGITS = 4;

/**
 * Makes of an exported snapshot, or VM, what imports as a normal VM that is shut down: one VM, its disks as given, its
 * network cards, and what these need. Suspended memory and virtual TPMs, which hold secrets, are left out. The result
 * depends on the input alone: ids are counted anew, disks are in the order of the VM's devices.
 * @throws IntegrityError when the VM or one of the disks is not there
 */
export function editOva(ova: Ova, edits: OvaEdits): EditedOva {
  const vm = ova.objects.find((object) => object.class === "VM" && field(object, "uuid") === edits.uuid);
  if (vm === undefined) throw new IntegrityError(`Cannot use ova.xml: it holds no VM with the uuid ${edits.uuid}`);
  const kept = keptObjects(ova, vm, edits);
  const ids = new Map(kept.objects.map(({ id }, index) => [id, `Ref:${String(index + 1).padStart(ID_DIGITS, "0")}`]));
  const newId = (id: string): string => ids.get(id) ?? NULL_REF;
  const objects = kept.objects.map((object) => ({
    class: object.class,
    id: newId(object.id),
    record: editedRecord(object, ids),
  }));
  return {
    ova: { version: versionFor(ova, edits.xapiMax), objects },
    disks: kept.disks.map(({ vdi, disk }) => ({
      userdevice: disk.userdevice,
      id: newId(vdi.id),
      size: archiveBytes(disk.size),
    })),
  };
}

interface Kept {
  readonly objects: readonly OvaObject[];
  readonly disks: readonly { readonly vdi: OvaObject; readonly disk: OvaDisk }[];
}

function keptObjects(ova: Ova, vm: OvaObject, edits: OvaEdits): Kept {
  const byId = new Map(ova.objects.map((object) => [object.id, object]));
  const linked = (from: OvaObject, name: string): OvaObject | undefined => byId.get(field(from, name) ?? "");
  const ownedBy = (name: string, position: string): OvaObject[] =>
    ova.objects
      .filter((object) => object.class === name && field(object, "VM") === vm.id)
      .sort((a, b) => Number(field(a, position)) - Number(field(b, position)));
  const vbds = ownedBy("VBD", "userdevice").flatMap((vbd) => keptVbd(vbd, linked, edits));
  const disks = new Map<string, { readonly vdi: OvaObject; readonly disk: OvaDisk; readonly isWritten: boolean }>();
  for (const { vbd, vdi, disk } of vbds) {
    if (vdi === undefined || disk === undefined) continue;
    const known = disks.get(vdi.id);
    const isWritten = known?.isWritten === true || field(vbd, "mode")?.toUpperCase() !== "RO";
    disks.set(vdi.id, { vdi, disk: known?.disk ?? disk, isWritten });
  }
  const absent = edits.disks.find(({ userdevice }) => !vbds.some(({ disk }) => disk?.userdevice === userdevice));
  if (absent !== undefined) {
    throw new IntegrityError(`Cannot use ova.xml: its VM has no disk at device ${absent.userdevice}`);
  }
  const vdis = [...disks.values()].map((one) => ({
    ...one.vdi,
    record: editedVdi(one.vdi.record, {
      name: one.disk.name,
      size: archiveBytes(one.disk.size),
      isWritten: one.isWritten,
    }),
  }));
  const isos = vbds.flatMap(({ vdi, disk }) => (vdi === undefined || disk !== undefined ? [] : [vdi]));
  const vifs = ownedBy("VIF", "device");
  const vgpus = ownedBy("VGPU", "device");
  const through = (from: readonly OvaObject[], name: string): OvaObject[] =>
    from.map((object) => linked(object, name)).filter((object) => object !== undefined);
  const objects = unique([
    { ...vm, record: editedVm(vm.record, edits) },
    ...vbds.map(({ vbd }) => vbd),
    ...vifs,
    ...through(vifs, "network"),
    ...vdis,
    ...isos,
    ...through([...vdis, ...isos], "SR"),
    ...through(vgpus, "type"),
    ...vgpus,
    ...through(vgpus, "GPU_group"),
  ]);
  return { objects, disks: [...disks.values()] };
}

interface KeptVbd {
  readonly vbd: OvaObject;
  /** What it holds: undefined in a drive without a disc. */
  readonly vdi: OvaObject | undefined;
  /** Undefined for a drive. */
  readonly disk: OvaDisk | undefined;
}

function keptVbd(
  vbd: OvaObject,
  linked: (from: OvaObject, name: string) => OvaObject | undefined,
  edits: OvaEdits,
): readonly KeptVbd[] {
  const vdi = linked(vbd, "VDI");
  if (field(vbd, "type")?.toUpperCase() === "CD") {
    const isIso = vdi !== undefined && isIsoLibrary(linked(vdi, "SR"));
    return [isIso ? { vbd, vdi, disk: undefined } : { vbd: ejected(vbd), vdi: undefined, disk: undefined }];
  }
  const disk = edits.disks.find(({ userdevice }) => userdevice === field(vbd, "userdevice"));
  // A disk that is nowhere makes the whole import fail.
  return vdi === undefined || disk === undefined ? [] : [{ vbd, vdi, disk }];
}

function ejected(vbd: OvaObject): OvaObject {
  const fields: [string, RpcValue][] = [
    ["VDI", rpcText(NULL_REF)],
    ["empty", rpcBoolean(true)],
  ];
  return { ...vbd, record: rpcStruct([...vbd.record.members, ...fields]) };
}

function unique(objects: readonly OvaObject[]): OvaObject[] {
  const byId = new Map<string, OvaObject>();
  for (const object of objects) if (!byId.has(object.id)) byId.set(object.id, object);
  return [...byId.values()];
}

function versionFor({ version }: Ova, xapiMax: XapiVersion | undefined): Ova["version"] {
  const fields: [string, RpcValue][] = [["export_vsn", rpcText(EXPORT_VERSION)]];
  const [major, minor] = ["xapi_major", "xapi_minor"].map((name) => Number(textOf(version.members.get(name)) ?? NaN));
  if (major === undefined || minor === undefined || Number.isNaN(major) || Number.isNaN(minor)) {
    throw new IntegrityError("Cannot use ova.xml: it does not say which version of XAPI wrote it");
  }
  if (xapiMax !== undefined && (major > xapiMax.major || (major === xapiMax.major && minor > xapiMax.minor))) {
    fields.push(["xapi_major", rpcText(String(xapiMax.major))], ["xapi_minor", rpcText(String(xapiMax.minor))]);
  }
  return rpcStruct([...version.members, ...fields]);
}
