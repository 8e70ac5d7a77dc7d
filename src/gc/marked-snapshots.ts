import type { Hypervisor, Snapshot, VmIdentity } from "../hypervisor.js";
import { surroundings } from "../mount/preexisting-snapshots.js";
import { findDaemon } from "../mount/daemon-process.js";
import { listSessions } from "../mount/session-list.js";
import { readOwnership } from "../snapshot/ownership.js";
import { type ClassifiedSnapshot, classifySnapshot, type Surroundings } from "../snapshot/snapshot-class.js";
import { snapshotsOf } from "../snapshot/vm-snapshots.js";
import { ageOf, type Clocks } from "./age.js";
import type { GcSite } from "./site.js";
import { judgeSnapshot, type Verdict } from "./verdict.js";

/** A snapshot that looks like a backup's, and what is to become of it. */
export interface MarkedSnapshot {
  readonly snapshot: Snapshot;
  readonly classified: ClassifiedSnapshot;
  readonly ageMs: number | undefined;
  readonly verdict: Verdict;
}

/** Judges the snapshots of one VM by what lives on this host at this moment. */
export async function markedSnapshots(
  vm: VmIdentity,
  hypervisor: Hypervisor,
  clocks: () => Clocks,
  site: Pick<GcSite, "paths" | "rules" | "signal">,
): Promise<MarkedSnapshot[]> {
  return judgeAll(await snapshotsOf(vm.ref, hypervisor, site.signal), clocks, site);
}

/** The same of snapshots whose VM is gone. */
export async function markedOrphans(
  hypervisor: Hypervisor,
  clocks: () => Clocks,
  site: Pick<GcSite, "paths" | "rules" | "signal">,
): Promise<MarkedSnapshot[]> {
  return judgeAll(await hypervisor.listOrphans({ signal: site.signal }), clocks, site);
}

/** Sessions are read after the snapshots: whoever began in between shows as living. */
async function judgeAll(
  snapshots: readonly Snapshot[],
  clocks: () => Clocks,
  { paths, rules }: Pick<GcSite, "paths" | "rules">,
): Promise<MarkedSnapshot[]> {
  if (snapshots.length === 0) return [];
  const around = surroundings(await listSessions(paths));
  const marked: MarkedSnapshot[] = [];
  for (const snapshot of snapshots) {
    const ageMs = ageOf(snapshot, readOwnership(snapshot), clocks());
    const classified = await classify(snapshot, ageMs, around);
    const verdict = judgeSnapshot(classified, ageMs, rules);
    if (verdict !== undefined) marked.push({ snapshot, classified, ageMs, verdict });
  }
  return marked;
}

async function classify(
  snapshot: Snapshot,
  ageMs: number | undefined,
  around: Surroundings,
): Promise<ClassifiedSnapshot> {
  // Its age is what counts, not what one clock makes of it.
  const now = new Date(snapshot.createdAt.getTime() + (ageMs ?? 0));
  const classified = classifySnapshot(snapshot, { ...around, now });
  const { mark } = classified;
  if (mark === undefined || classified.class === "live") return classified;
  // A session whose journal is elsewhere, as another user's, still shows as a process.
  const isAtWork = mark.host === around.here.host && (await findDaemon(mark.session, "any user")) !== undefined;
  return isAtWork ? { ...classified, class: "live" } : classified;
}
