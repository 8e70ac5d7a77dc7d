import type { ExitName } from "../exit-codes.js";
import type { SnapshotClass } from "../snapshot/snapshot-class.js";

/** What was done about one thing, or would be. */
export type GcAction =
  /** It is gone now. */
  | "removed"
  /** It would be removed without --dry-run. */
  | "would-remove"
  /** It may stay. */
  | "left"
  /** It should have gone and is there. */
  | "failed"
  /** Nobody could look. */
  | "unasked";

/** One line of the answer; its keys are the JSON that programs read. */
export interface GcRow {
  readonly kind: "session" | "snapshot" | "import" | "consolidation" | "vm" | "server";
  /** The server's configured name, or its URL. */
  readonly server: string;
  /** Inventory path; null where there is none. */
  readonly vm: string | null;
  /** Session id, or name of the snapshot, of the VM that was imported, VM or server. */
  readonly name: string;
  /** The server's id of the snapshot, or of the VM that was imported. */
  readonly ref: string | null;
  readonly class: SnapshotClass | "dead-session" | null;
  /** Machine that made it, where it says. */
  readonly host: string | null;
  readonly ageSeconds: number | null;
  readonly action: GcAction;
  readonly reason: string;
}

export interface GcReport {
  readonly dryRun: boolean;
  readonly rows: readonly GcRow[];
}

/** How many rows ended how. */
export function countActions({ rows }: GcReport): Readonly<Record<GcAction, number>> {
  const counts: Record<GcAction, number> = { removed: 0, "would-remove": 0, left: 0, failed: 0, unasked: 0 };
  for (const { action } of rows) counts[action]++;
  return counts;
}

/** Something that is left outweighs a server that could not be asked. */
export function exitOf(report: GcReport): ExitName {
  const { failed, unasked, "would-remove": wouldRemove } = countActions(report);
  if (failed + wouldRemove > 0) return "leftover";
  return unasked > 0 ? "partial" : "ok";
}
