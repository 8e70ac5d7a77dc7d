import { errorChain, LeftoverError } from "../errors.js";
import { type MountInfo, readMountInfo, topMountAt } from "../mount-info.js";
import type { Settings } from "../settings.js";
import type { SessionFacts } from "../snapshot/journal-record.js";
import { findDaemon } from "./daemon-process.js";
import { canonicalMountPoint } from "./mount-point.js";
import { ownerOfMount, sessionOfMount } from "./mount-source.js";
import { listSessions } from "./session-list.js";
import { unmountTarget, type UnmountOptions } from "./unmount.js";

/** A mount of ours that is in the way of a new one. */
export interface EarlierMount {
  readonly mount: MountInfo;
  readonly session: string;
  /** Undefined when its journal is elsewhere or damaged. */
  readonly facts: SessionFacts | undefined;
  readonly isAlive: boolean;
}

/** An earlier mount of ours that the rule lets go; absent when there is none, or when it stays in the way. */
export async function removableMount(
  where: string,
  { paths, config }: Pick<UnmountOptions, "paths" | "config">,
): Promise<EarlierMount | undefined> {
  const earlier = await findEarlierMount(where, paths);
  return earlier !== undefined && mayClearMount(earlier, config.settings["preexisting.mount"]) ? earlier : undefined;
}

/** Looks without touching what is mounted there, which may hang. */
async function findEarlierMount(where: string, paths: UnmountOptions["paths"]): Promise<EarlierMount | undefined> {
  const mount = topMountAt(await readMountInfo(), await canonicalMountPoint(where));
  const session = mount === undefined ? undefined : sessionOfMount(mount);
  if (mount === undefined || session === undefined) return undefined;
  const entry = (await listSessions(paths)).find(({ id }) => id === session);
  const isAlive = entry?.isLive === true || (await findDaemon(session, ownerOfMount(mount) ?? 0)) !== undefined;
  return { mount, session, facts: entry?.facts, isAlive };
}

/**
 * Whether the rule lets an earlier mount go, which takes a look at the server for a living one. Where it does not, the
 * check of the mount point says what is in the way.
 */
function mayClearMount({ isAlive, facts }: EarlierMount, rule: Settings["preexisting.mount"]): boolean {
  if (!isAlive) return rule !== "fail";
  return rule === "delete" && facts !== undefined;
}

/**
 * Takes away an earlier mount that may go. Nobody can read a dead mount, so that repairing it takes nothing from anybody;
 * a living one may be read by a backup, and even then only the same VM's goes.
 * @param isSameVm asks the server whether that session's VM is the one to be mounted now
 * @throws what `unmountTarget` throws for a living mount; LeftoverError of a dead one that is still there
 */
export async function clearEarlierMount(
  earlier: EarlierMount,
  isSameVm: (facts: SessionFacts) => Promise<boolean>,
  options: UnmountOptions,
): Promise<void> {
  const { mountPoint } = earlier.mount;
  if (earlier.isAlive) {
    if (earlier.facts === undefined || !(await isSameVm(earlier.facts))) return;
    options.logger.info((await unmountTarget(mountPoint, options)).message);
    return;
  }
  try {
    options.logger.info((await unmountTarget(mountPoint, options)).message);
  } catch (error) {
    const isThere = sessionAt(await readMountInfo(), mountPoint) === earlier.session;
    if (!(error instanceof LeftoverError) || isThere) throw error;
    // The journal keeps what is left of it, for "vmmount umount" and "vmmount gc"; this backup need not wait for that.
    options.logger.warn(errorChain(error));
  }
}

function sessionAt(mounts: readonly MountInfo[], mountPoint: string): string | undefined {
  const mount = topMountAt(mounts, mountPoint);
  return mount === undefined ? undefined : sessionOfMount(mount);
}
