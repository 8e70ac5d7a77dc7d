import { MOUNT_TYPE, type MountInfo } from "../mount-info.js";

/** The source column of our mounts names the session. */
const PREFIX = "vmmount:";

export function mountSource(session: string): string {
  return `${PREFIX}${session}`;
}

/** The session that made this mount; undefined for a mount that is not ours. */
export function sessionOfMount(mount: Pick<MountInfo, "type" | "source">): string | undefined {
  if (mount.type !== MOUNT_TYPE || !mount.source.startsWith(PREFIX)) return undefined;
  return mount.source.slice(PREFIX.length);
}
