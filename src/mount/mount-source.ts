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

/** The user who may enter a FUSE mount: the one whose daemon made it. */
export function ownerOfMount({ options }: Pick<MountInfo, "options">): number | undefined {
  const [, uid] = /^user_id=(\d+)$/.exec(options.find((option) => option.startsWith("user_id=")) ?? "") ?? [];
  return uid === undefined ? undefined : Number(uid);
}
