import { hostname } from "node:os";
import type { Snapshot, VmDescription } from "../hypervisor.js";
import { readOwnership } from "../snapshot/ownership.js";
import { fail, type Finding, ok, warn } from "./finding.js";

/** Each link of a chain costs reads, and room that is not given back; VMware advises two or three. */
const SNAPSHOTS_MAX = 3;
/** VMware advises 72 hours; a week is what even a forgotten change window takes. */
const AGE_DAYS_MAX = 7;
const DAY_MS = 86_400_000;

export interface SnapshotView {
  readonly vm: VmDescription;
  readonly snapshots: readonly Snapshot[];
  /** So many images may depend on each other. */
  readonly chainMax: number;
  /** Sessions of this host whose daemon lives. */
  readonly live: ReadonlySet<string>;
  /** Milliseconds since the epoch. */
  readonly now: number;
}

export function judgeSnapshots(view: SnapshotView): Finding[] {
  return [judgeCount(view), judgeChain(view), judgeAge(view), ...judgeOurs(view)];
}

function judgeCount({ snapshots }: SnapshotView): Finding {
  const id = "vm.snapshots";
  if (snapshots.length <= SNAPSHOTS_MAX) return ok(id, `The VM has ${countText(snapshots.length)}`);
  return warn(
    id,
    `The VM has ${countText(snapshots.length)}: reading gets slow, and room is not given back`,
    "Remove old ones",
  );
}

function countText(count: number): string {
  return count === 0 ? "no snapshot" : count === 1 ? "1 snapshot" : `${count} snapshots`;
}

/** Storage may keep images of snapshots that are long gone, until it has merged them. */
function judgeChain({ vm, chainMax }: SnapshotView): Finding {
  const id = "vm.chain";
  const depth = Math.max(0, ...vm.disks.map(({ parents }) => parents.length));
  const text = depth === 0 ? "No disk depends on an older image" : `The deepest disk depends on ${depth} older images`;
  if (depth >= chainMax) {
    return fail(
      id,
      "snapshot",
      `${text}, and the storage refuses a snapshot from ${chainMax} on`,
      "Remove old snapshots and let the storage merge",
    );
  }
  return depth > SNAPSHOTS_MAX
    ? warn(id, text, "Remove old snapshots, or let the storage merge its images")
    : ok(id, text);
}

function judgeAge({ snapshots, now }: SnapshotView): Finding {
  const id = "vm.snapshot-age";
  const theirs = snapshots.filter((one) => readOwnership(one) === undefined);
  const [oldest] = theirs.toSorted((a, b) => a.createdAt.getTime() - b.createdAt.getTime());
  if (oldest === undefined) return ok(id, "There is no snapshot of anybody else");
  const days = Math.floor((now - oldest.createdAt.getTime()) / DAY_MS);
  const text = `The oldest snapshot of somebody else, "${oldest.name}", is ${days} days old`;
  return days > AGE_DAYS_MAX ? warn(id, text, "Remove it if nobody needs it") : ok(id, text);
}

/** Snapshots of vmmount that no living mount of this host holds. */
function judgeOurs({ snapshots, live }: SnapshotView): Finding[] {
  const id = "vm.leftover";
  const left = snapshots.flatMap((snapshot) => {
    const mark = readOwnership(snapshot);
    return mark === undefined || live.has(mark.session) ? [] : [{ snapshot, mark }];
  });
  if (left.length === 0) return [ok(id, "No snapshot of vmmount is left behind")];
  return left.map(({ snapshot, mark }) => {
    if (mark.host === hostname()) {
      const hint = `Run "vmmount umount ${mark.session}"`;
      return warn(id, `"${snapshot.name}" of ${snapshot.createdAt.toISOString()} was left behind by this host`, hint);
    }
    return warn(
      id,
      `"${snapshot.name}" of ${snapshot.createdAt.toISOString()} belongs to a mount of host "${mark.host}"`,
      "Look there whether the mount still lives",
    );
  });
}
