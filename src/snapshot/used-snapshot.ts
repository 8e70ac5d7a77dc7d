import { AmbiguousError, NotFoundError } from "../errors.js";
import type { Snapshot } from "../hypervisor.js";
import { printable } from "../printable.js";
import type { UsedSnapshot } from "./journal-record.js";
import { readOwnership } from "./ownership.js";
import { VCB_SNAPSHOT } from "./snapshot-class.js";

/** A list longer than this is no help in choosing. */
const SHOWN_MAX = 10;

/**
 * The one snapshot that the policies manual and deleteonly mean: with that name or id, or, when `wanted` is empty, the
 * one that createonly kept or VMware Consolidated Backup made.
 * @throws NotFoundError when there is none, AmbiguousError when there are several; never a guess
 */
export function chooseUsedSnapshot(vmName: string, snapshots: readonly Snapshot[], wanted: string): Snapshot {
  const matching = snapshots.filter((snapshot) => isMeant(snapshot, wanted));
  const [first, ...others] = matching;
  if (first === undefined) throw missing(vmName, snapshots, wanted);
  if (others.length === 0) return first;
  throw new AmbiguousError(`Cannot choose a snapshot of "${vmName}": ${matching.length} match`, {
    hint: `Name one by its id with --use-snapshot: ${listed(matching)}`,
  });
}

function isMeant(snapshot: Snapshot, wanted: string): boolean {
  if (wanted !== "") return snapshot.ref === wanted || snapshot.name === wanted;
  return snapshot.name === VCB_SNAPSHOT || readOwnership(snapshot)?.policy === "createonly";
}

function missing(vmName: string, snapshots: readonly Snapshot[], wanted: string): NotFoundError {
  const what =
    wanted === "" ? `none was kept by the policy createonly or is named ${VCB_SNAPSHOT}` : `none is "${wanted}"`;
  return new NotFoundError(`Cannot find the snapshot of "${vmName}" to use: ${what}`, {
    hint:
      snapshots.length === 0
        ? "The VM has no snapshots: make one first, with --policy createonly for example"
        : `Name one with --use-snapshot: ${listed(snapshots)}`,
  });
}

function listed(snapshots: readonly Snapshot[]): string {
  const shown = snapshots.slice(0, SHOWN_MAX).map(({ ref, name }) => `${ref} ("${printable(name)}")`);
  if (snapshots.length > shown.length) shown.push(`… and ${snapshots.length - shown.length} more`);
  return shown.join("; ");
}

export function journaledUse({ ref, name, createdAt }: Snapshot): UsedSnapshot {
  return { snapshot: ref, name, createdAt: timeText(createdAt) };
}

/** A server may say nonsense of the time. */
function timeText(time: Date): string {
  return Number.isNaN(time.getTime()) ? "?" : time.toISOString();
}

/** Servers may give an id again, and people make another snapshot of the same name. */
export function isStillThat(snapshot: Snapshot, used: UsedSnapshot): boolean {
  return (
    snapshot.ref === used.snapshot && snapshot.name === used.name && timeText(snapshot.createdAt) === used.createdAt
  );
}

/**
 * A VM that is registered again has new ids, and its snapshots have too; but a copy of a VM has twins of them.
 * @returns a sentence about one without the id that is like that snapshot otherwise
 */
export function tellMoved(snapshots: readonly Snapshot[], used: UsedSnapshot): string | undefined {
  const twin = snapshots.find((one) => isStillThat({ ...one, ref: used.snapshot }, used));
  if (twin === undefined) return undefined;
  return `Snapshot "${used.name}" has another id now, ${twin.ref} in place of ${used.snapshot}, or that is a copy of it`;
}
