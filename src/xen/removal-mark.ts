import { z } from "zod";
import type { CallOptions, Snapshot } from "../hypervisor.js";
import { lacksDescription } from "./described.js";
import { unlessGone } from "./inventory.js";
import { isSet, map, text, toText } from "./xapi/fields.js";
import { recordsOf } from "./xapi/pool-facts.js";
import type { XapiRecord } from "./xapi/value.js";
import type { Xapi } from "./xapi/xapi.js";

/**
 * A snapshot's record goes before its disks do. What the disks then belong to stands on each of them, in other_config:
 * a removal that stopped half-way is found by it and can be ended.
 */
const KEY = "vmmount-removing";

const markSchema = z.object({
  /** UUID of the disk itself: a clone, as of a snapshot that somebody reverts to, inherits what its disk has there. */
  disk: z.string(),
  /** UUIDs of the snapshot and of its VM. */
  snapshot: z.string(),
  vm: z.string(),
  name: z.string(),
  description: z.string(),
  created: z.iso.datetime(),
  /** The snapshot had got its name and not its description: it belongs to whoever the name says. */
  lacksDescription: z.literal(true).optional(),
});
export type RemovalMark = z.infer<typeof markSchema>;

export interface MarkedDisk {
  readonly ref: string;
  readonly mark: RemovalMark;
}

/** @throws XapiFault */
export async function markDisk(
  vdi: string,
  mark: Omit<RemovalMark, "disk">,
  xapi: Pick<Xapi, "call">,
  options: CallOptions,
): Promise<void> {
  await unlessGone(async () => {
    const disk = toText(await xapi.call("VDI.get_uuid", [vdi], options), "a UUID");
    // An earlier attempt may have left it; a map takes a key once.
    await xapi.call("VDI.remove_from_other_config", [vdi, KEY], options);
    await xapi.call("VDI.add_to_other_config", [vdi, KEY, JSON.stringify({ disk, ...mark })], options);
  });
}

/** @returns undefined for a disk without a mark of its own, and for one that a VM writes to again */
export function readMark(vdi: XapiRecord): RemovalMark | undefined {
  if (!isSet(vdi, "is_a_snapshot") && text(vdi, "type") !== "suspend") return undefined;
  const value = map(vdi, "other_config").get(KEY);
  if (value === undefined) return undefined;
  try {
    const mark = markSchema.safeParse(JSON.parse(value)).data;
    return mark?.disk === text(vdi, "uuid") ? mark : undefined;
  } catch {
    // Somebody edited it: without the mark the disk is not provably left over.
    return undefined;
  }
}

/** Every disk of the pool whose removal has begun. @throws XapiFault */
export async function markedDisks(xapi: Pick<Xapi, "call">, options: CallOptions): Promise<MarkedDisk[]> {
  const vdis = await recordsOf(xapi.call.bind(xapi), "VDI", options);
  return [...vdis].flatMap(([ref, vdi]) => {
    const mark = readMark(vdi);
    return mark === undefined ? [] : [{ ref, mark }];
  });
}

/** A snapshot of which only disks are left, as it was. */
export function toHalfRemoved(mark: RemovalMark): Snapshot {
  const { snapshot: ref, name, description, created, lacksDescription: isPending } = mark;
  const half = { ref, name, description, createdAt: new Date(created), quiesced: false, depth: 1 };
  return { ...half, ...(isPending && { lacksDescription: true }) };
}

export function toMark(snapshot: XapiRecord, vm: string, created: Date): Omit<RemovalMark, "disk"> {
  return {
    snapshot: text(snapshot, "uuid"),
    vm,
    name: text(snapshot, "name_label"),
    description: text(snapshot, "name_description"),
    created: created.toISOString(),
    ...(lacksDescription(snapshot) && { lacksDescription: true }),
  };
}
