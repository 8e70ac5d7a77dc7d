import { field, type Ova, type OvaObject } from "./ova.js";
import { textsOf } from "./rpc-value.js";

export interface ExpectedDisk {
  /** Of the VDI's object: the folder of its chunks. */
  readonly id: string;
  /** VDI.virtual_size; NaN where the record has none. */
  readonly size: number;
}

/**
 * The disks whose chunks an importer expects, in the order in which it expects them: those of every VBD that is no CD,
 * outside of ISO libraries, each once, and suspended memory.
 */
export function expectedDisks({ objects }: Ova): readonly ExpectedDisk[] {
  const byId = new Map(objects.map((object) => [object.id, object]));
  const isDisk = (vdi: OvaObject): boolean => {
    if (isIsoLibrary(byId.get(field(vdi, "SR") ?? ""))) return false;
    if (field(vdi, "type") === "suspend") return true;
    const vbds = textsOf(vdi.record.members.get("VBDs")).map((id) => byId.get(id));
    const naming = objects.filter((object) => object.class === "VBD" && field(object, "VDI") === vdi.id);
    return [...vbds, ...naming].some((vbd) => vbd?.class === "VBD" && field(vbd, "type")?.toUpperCase() !== "CD");
  };
  return objects
    .filter((object) => object.class === "VDI" && isDisk(object))
    .map((vdi) => ({ id: vdi.id, size: sizeOf(vdi) }))
    .sort((a, b) => Buffer.compare(Buffer.from(a.id), Buffer.from(b.id)));
}

function sizeOf(vdi: OvaObject): number {
  const text = (field(vdi, "virtual_size") ?? "").trim();
  // An empty text is no 0.
  return /^\d+$/.test(text) ? Number(text) : NaN;
}

/** Discs are looked up in the pool that imports: their bytes are in no archive. */
export function isIsoLibrary(sr: OvaObject | undefined): boolean {
  return sr !== undefined && field(sr, "content_type") === "iso";
}
