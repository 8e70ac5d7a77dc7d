import type { SettingKey, Settings } from "./settings.js";

export interface SettingConflict {
  readonly keys: readonly SettingKey[];
  /** Why they do not go together: a sentence without a final full stop. */
  readonly reason: string;
  readonly hint: string;
}

type Preexisting = Pick<Settings, "preexisting.mount" | "preexisting.snapshot">;

/**
 * VCB's rule for hotadd: old mounts and old snapshots are both kept or both deleted. Over hotadd the disks of a mount are
 * attached to this machine, and a snapshot whose disks are attached cannot be removed safely; deleting snapshots while
 * mounts stay would do that, and deleting a mount deletes its snapshot. `delete-own` goes with either: it takes only
 * snapshots of processes that have ended, whose disks are detached first.
 */
export function isContradictory({
  "preexisting.mount": mount,
  "preexisting.snapshot": snapshot,
}: Preexisting): boolean {
  return (snapshot === "delete") !== (mount === "delete") && snapshot !== "delete-own";
}

/** Settings that are right one by one and wrong together. Pure: no server is asked. */
export function settingConflicts(settings: Settings): SettingConflict[] {
  const conflicts: SettingConflict[] = [];
  const transport = settings["mount.transport"];
  if (transport !== "auto" && transport.includes("hotadd") && isContradictory(settings)) {
    conflicts.push({
      keys: ["mount.transport", "preexisting.mount", "preexisting.snapshot"],
      reason:
        "over hotadd the disks of an old mount are attached to this machine, and its snapshot cannot be removed safely as long as they are",
      hint: 'With hotadd, set preexisting.mount and preexisting.snapshot both to "delete", or neither',
    });
  }
  return conflicts;
}
