import { basename } from "node:path";
import { NotFoundError } from "../errors.js";
import type { Machine, MachineSnapshot, SnapshotDisk } from "./machine.js";

export interface SnapshotRequest {
  readonly ref: string;
  readonly id: number;
  readonly name: string;
  readonly description: string;
  readonly quiesced: boolean;
}

/** Freezes the newest link of every disk that takes part, puts an empty delta on top and records the snapshot. */
export async function createSnapshot(machine: Machine, request: SnapshotRequest): Promise<MachineSnapshot> {
  const disks = new Map<number, SnapshotDisk>();
  for (const disk of machine.disks) {
    if (disk.isOutsideSnapshots) continue;
    const frozen = await disk.freeze();
    disks.set(disk.key, { frozen, changeId: machine.changeTracking ? disk.changes.advance() : undefined });
  }
  const snapshot: MachineSnapshot = { ...request, createdAt: new Date(), power: machine.power, disks };
  machine.snapshots.push(snapshot);
  await machine.saveVmx();
  machine.touch();
  return snapshot;
}

/**
 * Takes snapshots off the tree and merges the links that no snapshot needs any more.
 * @param consolidate false leaves the links, and the machine asks for consolidation
 */
export async function removeSnapshots(
  machine: Machine,
  refs: ReadonlySet<string>,
  consolidate: boolean,
): Promise<void> {
  const before = machine.snapshots.length;
  machine.snapshots = machine.snapshots.filter((snapshot) => !refs.has(snapshot.ref));
  if (machine.snapshots.length === before) throw new NotFoundError(`Cannot find these snapshots of ${machine.name}`);
  if (consolidate) await mergeUnneededLinks(machine);
  else machine.consolidationNeeded = machine.disks.some((disk) => unneeded(machine, disk.key) !== undefined);
  machine.touch();
}

/** Merges every link that no snapshot froze into its parent. */
export async function mergeUnneededLinks(machine: Machine): Promise<void> {
  for (const disk of machine.disks) {
    for (let frozen = unneeded(machine, disk.key); frozen !== undefined; frozen = unneeded(machine, disk.key)) {
      const vanished = await disk.merge(frozen);
      // A later snapshot that froze the vanished link now finds the same bytes in its parent.
      for (const snapshot of machine.snapshots) {
        const entry = snapshot.disks.get(disk.key);
        if (entry?.frozen === vanished) entry.frozen = frozen;
      }
    }
  }
  machine.consolidationNeeded = false;
  await machine.saveVmx();
  machine.touch();
}

/** A link with a child, which no snapshot holds: the child can be merged into it. */
function unneeded(machine: Machine, diskKey: number): string | undefined {
  const held = new Set(machine.snapshots.map((snapshot) => snapshot.disks.get(diskKey)?.frozen));
  const links = machine.disk(diskKey).links.slice(0, -1);
  return links.map(({ link }) => link.files.descriptor).find((path) => !held.has(path));
}

/** `web01-000001.vmdk`: for logs. */
export function frozenNames(snapshot: MachineSnapshot): string[] {
  return [...snapshot.disks.values()].map((disk) => basename(disk.frozen));
}
