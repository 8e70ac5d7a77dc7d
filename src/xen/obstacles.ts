import type { CallOptions } from "../hypervisor.js";
import { printable } from "../printable.js";
import { freeAfterSnapshot, type StorageRoom } from "../storage-room.js";
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
  return [...found, ...fullStorages(storagesOf(disks, support))];
}

/** Where the disks lie of which a snapshot is made; on block devices it sets a disk's whole size aside. */
export function storagesOf(disks: readonly VmDisk[], support: SnapshotSupport): StorageRoom[] {
  const found = new Map<string, { name: string; free: number | undefined; setAside: number }>();
  for (const { srRef, sr, vdi } of disks) {
    if (whyNoSnapshot(vdi, sr, support) !== undefined) continue;
    const one = found.get(srRef) ?? { name: text(sr, "name_label"), free: freeBytes(sr), setAside: 0 };
    if (isThin(sr) === false) one.setAside += integer(vdi, "virtual_size") ?? 0;
    found.set(srRef, one);
  }
  return [...found.values()];
}

function fullStorages(storages: readonly StorageRoom[]): string[] {
  return storages.flatMap((storage) => {
    const left = freeAfterSnapshot(storage);
    if (storage.setAside === 0 || left === undefined || left >= 0) return [];
    return [
      `the storage repository "${storage.name}" sets whole disks aside and has ${storage.free ?? 0} bytes free, but a snapshot takes ${storage.setAside}`,
    ];
  });
}
