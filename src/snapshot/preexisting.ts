import type { Snapshot } from "../hypervisor.js";
import type { Settings, SnapshotPolicy } from "../settings.js";
import type { ClassifiedSnapshot } from "./snapshot-class.js";

export interface PreexistingRules {
  readonly policy: SnapshotPolicy;
  readonly rule: Settings["preexisting.snapshot"];
  /** With the rule delete: also what only looks like a backup's by its name. */
  readonly anyOwner: boolean;
}

/** What to do with one snapshot that is there before ours. */
export type Verdict =
  | { readonly act: "ignore" }
  | { readonly act: "warn"; readonly reason: string }
  | { readonly act: "remove" }
  | { readonly act: "refuse"; readonly reason: string };

/**
 * Pure: the table of pre-existing snapshots. A policy that uses a snapshot leaves all others alone; one that creates
 * wants none of an earlier backup. Snapshots of users are never its business.
 */
export function judgePreexisting(
  snapshot: Snapshot,
  { class: kind, mark }: ClassifiedSnapshot,
  { policy, rule, anyOwner }: PreexistingRules,
): Verdict {
  if (kind === "user") return { act: "ignore" };
  if (policy === "manual" || policy === "deleteonly") return { act: "ignore" };
  if (kind === "live") return { act: "refuse", reason: "a mount of this host uses it" };
  if (kind === "unknown") {
    if (rule === "delete" && anyOwner) return { act: "remove" };
    return {
      act: "refuse",
      reason: "it is named like a snapshot of a backup, and nothing proves that vmmount made it",
    };
  }
  if (kind === "foreign-host") {
    const where = `host "${mark?.host ?? "?"}" made it for "${mark?.mountPoint ?? "?"}"`;
    if (rule === "delete") return { act: "remove" };
    if (rule === "fail") return { act: "refuse", reason: where };
    return { act: "warn", reason: `${where}, and it is left alone` };
  }
  if (rule === "fail") return { act: "refuse", reason: `session ${mark?.session ?? "?"} left it` };
  return { act: "remove" };
}
