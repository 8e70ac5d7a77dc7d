import type { CallOptions } from "../hypervisor.js";
import { printable } from "../printable.js";
import { unlessGone } from "./inventory.js";
import { freeBytes, isThin, type SnapshotSupport, whyNoSnapshot } from "./storage.js";
import type { VmDisk } from "./vm-disks.js";
import { integer, map, references, text, toRecord } from "./xapi/fields.js";
import { isAtLeast } from "./xapi/pool-facts.js";
import type { XapiRecord } from "./xapi/value.js";
import type { Xapi } from "./xapi/xapi.js";

interface Scope extends CallOptions {
  readonly xapi: Pick<Xapi, "call" | "facts">;
  readonly support: SnapshotSupport;
  readonly chainMax: number;
}

/** Snapshots can leave disks out since xapi 21.4: the call has a parameter for it. */
export function canIgnoreDisks({ facts }: Pick<Xapi, "facts">): boolean {
  return isAtLeast(facts.xapi, 21, 4);
}

/** UUIDs of the images below a disk's own, youngest first, as far as the storage tells. @throws XapiFault */
export async function parentChain(disk: VmDisk, { xapi, chainMax, signal }: Scope): Promise<string[]> {
  const chain: string[] = [];
  let next = map(disk.vdi, "sm_config").get("vhd-parent") || undefined;
  // A cycle ends at the limit as well.
  while (next !== undefined && chain.length < chainMax) {
    const uuid: string = next;
    chain.push(uuid);
    const parent = await unlessGone(async () => {
      const ref = await xapi.call("VDI.get_by_uuid", [uuid], { signal });
      return toRecord(await xapi.call("VDI.get_record", [ref], { signal }), "a VDI");
    });
    next = (parent && map(parent, "sm_config").get("vhd-parent")) || undefined;
  }
  return chain;
}

/** What is certain to make a snapshot fail, in words. */
export function snapshotObstacles(
  at: {
    readonly vm: XapiRecord;
    readonly disks: readonly VmDisk[];
    readonly parents: readonly (readonly string[])[];
  },
  { xapi, support, chainMax }: Scope,
): string[] {
  const { vm, disks, parents } = at;
  const found: string[] = [];
  const blocked = map(vm, "blocked_operations").get("snapshot");
  if (blocked !== undefined) found.push(`an administrator has blocked snapshots of it: "${printable(blocked)}"`);
  if (references(vm, "VUSBs").length > 0) {
    found.push("a USB device is handed through to it, and such VMs have no snapshots");
  }
  disks.forEach(({ vdi, sr }, index) => {
    const name = text(vdi, "name_label");
    const why = whyNoSnapshot(vdi, sr, support);
    if (why !== undefined && !canIgnoreDisks(xapi)) {
      found.push(`its disk "${name}" cannot be left out of a snapshot on ${xapi.facts.product}, but ${why}`);
    }
    const depth = parents[index]?.length ?? 0;
    if (depth >= chainMax) {
      found.push(`its disk "${name}" depends on a chain of ${depth} images, and the storage refuses longer ones`);
    }
  });
  return [...found, ...fullStorages(disks, support)];
}

/** On block devices a snapshot sets the disk's whole size aside. */
function fullStorages(disks: readonly VmDisk[], support: SnapshotSupport): string[] {
  const needed = new Map<string, { readonly sr: XapiRecord; bytes: number }>();
  for (const { srRef, sr, vdi } of disks) {
    if (isThin(sr) !== false || whyNoSnapshot(vdi, sr, support) !== undefined) continue;
    const one = needed.get(srRef) ?? { sr, bytes: 0 };
    one.bytes += integer(vdi, "virtual_size") ?? 0;
    needed.set(srRef, one);
  }
  return [...needed.values()].flatMap(({ sr, bytes }) => {
    const free = freeBytes(sr);
    if (free === undefined || free >= bytes) return [];
    return [
      `the storage repository "${text(sr, "name_label")}" sets whole disks aside and has ${free} bytes free, but a snapshot takes ${bytes}`,
    ];
  });
}
