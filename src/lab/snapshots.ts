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

/** Takes snapshots off the tree. Their links stay until they are merged, and the machine asks for that. */
export function forgetSnapshots(machine: Machine, refs: ReadonlySet<string>): void {
  machine.snapshots = machine.snapshots.filter((snapshot) => !refs.has(snapshot.ref));
  machine.consolidationNeeded = needsConsolidation(machine);
  machine.touch();
}

/** Whether a disk has a frozen link that no snapshot needs. */
export function needsConsolidation(machine: Machine): boolean {
  return machine.disks.some((disk) => unneeded(machine, disk.key) !== undefined);
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
