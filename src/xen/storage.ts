import type { CallOptions } from "../hypervisor.js";
import { XapiFault } from "./xapi/fault.js";
import { integer, list, map, text } from "./xapi/fields.js";
import { recordsOf } from "./xapi/pool-facts.js";
import { isRecord, type XapiRecord } from "./xapi/value.js";
import type { Xapi } from "./xapi/xapi.js";

/** Block devices: each snapshot sets the whole size of a disk aside. */
const THICK = ["lvm", "lvmoiscsi", "lvmohba", "lvmofcoe", "hba", "iscsi", "udev"];
/** Files, or storage that allocates on write. */
const THIN = [
  "ext",
  "ext4",
  "xfs",
  "btrfs",
  "nfs",
  "smb",
  "cifs",
  "file",
  "gfs2",
  "zfs",
  "largeblock",
  "cephfs",
  "glusterfs",
  "moosefs",
];

/** @returns undefined for a kind of storage that is not known */
export function isThin(sr: XapiRecord): boolean | undefined {
  const type = text(sr, "type");
  if (THICK.includes(type)) return false;
  return THIN.includes(type) ? true : undefined;
}

/** Bytes that are free; undefined where the storage does not say. */
export function freeBytes(sr: XapiRecord): number | undefined {
  const total = integer(sr, "physical_size");
  const used = integer(sr, "physical_utilisation");
  // Some kinds report 0 for "unknown".
  return total === undefined || total === 0 || used === undefined ? undefined : Math.max(0, total - used);
}

/** Kinds of storage that are known to have no snapshots. What an SR allows at this moment says less: a scan changes it. */
export class SnapshotSupport {
  readonly #types: ReadonlyMap<string, readonly string[]>;

  private constructor(types: ReadonlyMap<string, readonly string[]>) {
    this.#types = types;
  }

  /** @throws UnreachableError */
  static async load(xapi: Pick<Xapi, "call">, options: CallOptions): Promise<SnapshotSupport> {
    try {
      const managers = await recordsOf(xapi.call.bind(xapi), "SM", options);
      const features = (one: XapiRecord): string[] => {
        const known = one["features"];
        return [...(known !== undefined && isRecord(known) ? Object.keys(known) : []), ...list(one, "capabilities")];
      };
      return new SnapshotSupport(new Map([...managers.values()].map((one) => [text(one, "type"), features(one)])));
    } catch (error) {
      if (!(error instanceof XapiFault)) throw error;
      // Without the table nothing is known to be missing.
      return new SnapshotSupport(new Map());
    }
  }

  lacks(sr: XapiRecord): boolean {
    const features = this.#types.get(text(sr, "type"));
    return features !== undefined && features.length > 0 && !features.some((name) => name.startsWith("VDI_SNAPSHOT"));
  }
}

/** Why a disk cannot be in a snapshot; undefined = it can. */
export function whyNoSnapshot(vdi: XapiRecord, sr: XapiRecord, support: SnapshotSupport): string | undefined {
  if (vdi["sharable"] === true) return "it is shared between VMs, and such disks have no snapshots";
  if (text(vdi, "on_boot") === "reset") return "it is reset at every boot, and such disks have no snapshots";
  if (map(vdi, "sm_config").get("type") === "raw") return "it is a raw disk, and such disks have no snapshots";
  if (support.lacks(sr)) return `storage of the type "${text(sr, "type")}" has no snapshots`;
  return undefined;
}
