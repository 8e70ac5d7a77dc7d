import { readFile } from "node:fs/promises";

/** How the mounts of vmmount show in the mount table. */
export const MOUNT_TYPE = "fuse.vmmount";

/** One line of /proc/self/mountinfo (proc(5)). */
export interface MountInfo {
  /** `major:minor` of st_dev: one file system, wherever it is mounted. */
  readonly device: string;
  readonly mountPoint: string;
  readonly type: string;
  readonly source: string;
  /** Of the file system itself, such as `user_id=0`. */
  readonly options: readonly string[];
}

/** Every mount of this mount namespace, in mount order. Reading it asks no file system anything, so none can hang it. */
export async function readMountInfo(): Promise<readonly MountInfo[]> {
  return parseMountInfo(await readFile("/proc/self/mountinfo", "utf8"));
}

/** `id parent major:minor root mountpoint options [tags...] - type source superoptions`; other lines are left out. */
export function parseMountInfo(text: string): readonly MountInfo[] {
  const mounts: MountInfo[] = [];
  for (const line of text.split("\n")) {
    const [head, tail] = line.split(" - ", 2);
    const [, , device, , mountPoint] = head?.split(" ") ?? [];
    const [type, source, options] = tail?.split(" ") ?? [];
    if (device === undefined || mountPoint === undefined || type === undefined || source === undefined) continue;
    mounts.push({
      device,
      mountPoint: unescaped(mountPoint),
      type,
      source: unescaped(source),
      options: options?.split(",") ?? [],
    });
  }
  return mounts;
}

/** Space, tab, newline and backslash are written as a backslash and three octal digits; other bytes as they are. */
function unescaped(text: string): string {
  return text.replace(/\\([0-7]{3})/g, (_, octal: string) => String.fromCharCode(Number.parseInt(octal, 8)));
}

/** The mount that a path lookup of `mountPoint` ends in: later lines lie on top of earlier ones. */
export function topMountAt(mounts: readonly MountInfo[], mountPoint: string): MountInfo | undefined {
  return mounts.findLast((mount) => mount.mountPoint === mountPoint);
}
