import { readFile } from "node:fs/promises";

/** One line of /proc/self/mountinfo (proc(5)). */
export interface MountInfo {
  /** `major:minor` of st_dev: one file system, wherever it is mounted. */
  readonly device: string;
  readonly mountPoint: string;
  readonly type: string;
  readonly source: string;
}

/** Spaces, tabs, newlines and backslashes are written as a backslash and three octal digits. */
function unescaped(text: string): string {
  return text.replace(/\\([0-7]{3})/g, (_, octal: string) => String.fromCharCode(Number.parseInt(octal, 8)));
}

/** `id parent major:minor root mountpoint options [tags...] - type source superoptions`; other lines are left out. */
export function parseMountInfo(text: string): readonly MountInfo[] {
  const mounts: MountInfo[] = [];
  for (const line of text.split("\n")) {
    const [head, tail] = line.split(" - ", 2);
    const [, , device, , mountPoint] = head?.split(" ") ?? [];
    const [type, source] = tail?.split(" ") ?? [];
    if (device === undefined || mountPoint === undefined || type === undefined || source === undefined) continue;
    mounts.push({ device, mountPoint: unescaped(mountPoint), type, source: unescaped(source) });
  }
  return mounts;
}

/** The mount that a path lookup of `mountPoint` ends in: later lines lie on top of earlier ones. */
export function topMountAt(mounts: readonly MountInfo[], mountPoint: string): MountInfo | undefined {
  return mounts.findLast((mount) => mount.mountPoint === mountPoint);
}

/** Reading this file asks no file system anything, so a hanging mount, our own above all, does not matter. */
export async function readMountInfo(): Promise<readonly MountInfo[]> {
  return parseMountInfo(await readFile("/proc/self/mountinfo", "utf8"));
}
