import type { Snapshot } from "../hypervisor.js";
import { type HostMark, isOfHost } from "./host.js";
import { type Ownership, readOwnership } from "./ownership.js";

/** The name of every snapshot that VMware Consolidated Backup made; other tools look for it as well. */
export const VCB_SNAPSHOT = "_VCB-BACKUP_";

/**
 * What a snapshot is to us.
 * - `user`: not one of a backup; never touched
 * - `unknown`: named like one of a backup, without a mark that proves it
 * - `live`: a mount of this host uses it
 * - `foreign-host`: another machine made it; what goes on there cannot be seen from here
 * - `kept`: made here under the policy createonly, to stay
 * - `expired`: kept, and older than it was meant to get
 * - `dead-local`: made here by a session that has no process any more
 */
export type SnapshotClass = "user" | "unknown" | "live" | "foreign-host" | "kept" | "expired" | "dead-local";

export interface Surroundings {
  readonly here: HostMark;
  /** Sessions of this host that have a process. */
  readonly liveSessions: ReadonlySet<string>;
  /** Ids of the snapshots that those sessions show, whoever made them. */
  readonly usedSnapshots: ReadonlySet<string>;
  readonly now: Date;
}

export interface ClassifiedSnapshot {
  readonly class: SnapshotClass;
  /** Undefined for `user` and `unknown`. */
  readonly mark: Ownership | undefined;
  /** Older than its mark allows; false without a mark. */
  readonly isPastMaxAge: boolean;
}

/** Pure: judges one snapshot by its mark and by what lives on this host. */
export function classifySnapshot(snapshot: Snapshot, around: Surroundings): ClassifiedSnapshot {
  const mark = readOwnership(snapshot);
  if (mark === undefined) {
    const isLive = around.usedSnapshots.has(snapshot.ref) || isNamedAfter(snapshot, around.liveSessions);
    return { class: isLive ? "live" : isBackupName(snapshot.name) ? "unknown" : "user", mark, isPastMaxAge: false };
  }
  const ageMs = around.now.getTime() - snapshot.createdAt.getTime();
  const isPastMaxAge = mark.maxAgeMs !== undefined && ageMs > mark.maxAgeMs;
  return { class: classOfMarked(snapshot, mark, isPastMaxAge, around), mark, isPastMaxAge };
}

function classOfMarked(
  { ref }: Snapshot,
  mark: Ownership,
  isPastMaxAge: boolean,
  { here, liveSessions, usedSnapshots }: Surroundings,
): SnapshotClass {
  if (liveSessions.has(mark.session) || usedSnapshots.has(ref)) return "live";
  if (!isOfHost(mark, here)) return "foreign-host";
  if (mark.policy !== "createonly") return "dead-local";
  return isPastMaxAge ? "expired" : "kept";
}

/** Where the mark is written after the snapshot was made, the name alone tells of the session that is at it. */
function isNamedAfter({ name }: Snapshot, sessions: ReadonlySet<string>): boolean {
  return name.startsWith("vmmount-") && sessions.has(name.slice("vmmount-".length));
}

function isBackupName(name: string): boolean {
  return name === VCB_SNAPSHOT || /^vmmount-[0-9a-z]{10}$/.test(name);
}
