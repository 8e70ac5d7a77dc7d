import type { PowerState } from "../locator.js";
import { RECENT_WRITE_MS } from "./limits.js";
import type { FolderEntry } from "./root.js";

/**
 * Files that a VM has beside it only while something holds its disks open, in words. VMware Workstation and Fusion keep
 * `NAME.vmdk.lck`, ESXi on NFS `.lck-…`; a VM's swap and memory files go when it is switched off.
 */
export function lockSigns(beside: readonly FolderEntry[]): string[] {
  const names = new Set(beside.map(({ name }) => name));
  return [...names].sort().flatMap((name) => {
    if (/\.lck$/i.test(name)) return [`"${name}" is there, which VMware Workstation keeps while it uses the file`];
    if (name.startsWith(".lck-")) return [`"${name}" is there, the lock of an ESXi host on NFS`];
    if (/\.vswp$/i.test(name)) return [`the swap file "${name}" is there`];
    if (isLiveMemory(name, names)) return [`the memory file "${name}" is there`];
    return [];
  });
}

/** Snapshots with memory keep `NAME-Snapshot3.vmem`; a suspended VM's memory file has a `.vmss` beside it. */
function isLiveMemory(name: string, names: ReadonlySet<string>): boolean {
  const stem = /^(.+)\.vmem$/i.exec(name)?.[1];
  return stem !== undefined && !/-Snapshot\d+$/i.test(stem) && !names.has(`${stem}.vmss`);
}

/** A guess from the files: nobody can be asked. */
export function guessPowerState(beside: readonly FolderEntry[]): PowerState {
  if (lockSigns(beside).length > 0) return "on";
  return beside.some(({ name }) => /\.vmss$/i.test(name)) ? "suspended" : "off";
}

/** A file that was written a moment ago, in words; a time in the future is a clock that differs and counts too. */
export function recentWrite(name: string, modified: Date, now: Date): string[] {
  const ageMs = now.getTime() - modified.getTime();
  if (ageMs >= RECENT_WRITE_MS) return [];
  return [`"${name}" was written ${ageMs < 0 ? "just now" : `${Math.round(ageMs / 1000)} s ago`}`];
}
