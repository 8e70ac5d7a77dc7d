import { readFile } from "node:fs/promises";

/** One line of /proc/self/mountinfo, as proc(5) describes it. */
export interface MountInfo {
  readonly mountPoint: string;
  readonly type: string;
  readonly source: string;
}

/** How a mount of ours names itself: type and, as source, the session. */
const OUR_TYPE = "fuse.vmmount";
const OUR_SOURCE = "vmmount:";

export function mountSource(session: string): string {
  return `${OUR_SOURCE}${session}`;
}

/** The session that made this mount; undefined for a mount that is not ours. */
export function sessionOfMount(mount: MountInfo): string | undefined {
  if (mount.type !== OUR_TYPE || !mount.source.startsWith(OUR_SOURCE)) return undefined;
  return mount.source.slice(OUR_SOURCE.length);
}

/** Every mount of this mount namespace, in mount order. Reading it never touches a mounted file system. */
export async function readMounts(path = "/proc/self/mountinfo"): Promise<MountInfo[]> {
  return parseMounts(await readFile(path, "utf8"));
}

export function parseMounts(text: string): MountInfo[] {
  const mounts: MountInfo[] = [];
  for (const line of text.split("\n")) {
    const [before, after] = line.split(" - ", 2);
    const mountPoint = before?.split(" ")[4];
    const [type, source] = after?.split(" ") ?? [];
    if (mountPoint === undefined || type === undefined || source === undefined) continue;
    mounts.push({ mountPoint: unescapeOctal(mountPoint), type, source: unescapeOctal(source) });
  }
  return mounts;
}

/** The kernel writes space, tab, newline and backslash as `\040` and so on; the bytes are UTF-8. */
function unescapeOctal(text: string): string {
  if (!text.includes("\\")) return text;
  const bytes: number[] = [];
  const raw = Buffer.from(text);
  for (let i = 0; i < raw.length; i++) {
    const octal = raw[i] === 0x5c ? raw.toString("latin1", i + 1, i + 4) : "";
    if (/^[0-7]{3}$/.test(octal)) {
      bytes.push(Number.parseInt(octal, 8));
      i += 3;
    } else {
      bytes.push(raw[i] ?? 0);
    }
  }
  return Buffer.from(bytes).toString("utf8");
}

/** The topmost mount exactly at `path`. */
export function mountAt(mounts: readonly MountInfo[], path: string): MountInfo | undefined {
  return mounts.findLast((mount) => mount.mountPoint === path);
}
