import { rm } from "node:fs/promises";
import type { Config } from "../config.js";
import { deadline } from "../deadline.js";
import { errorChain, LeftoverError, NotFoundError, RefusedError, UnreachableError } from "../errors.js";
import { MNT_DETACH, UMOUNT_NOFOLLOW, umount } from "../libc.js";
import type { Logger } from "../log.js";
import { FileJournal } from "../snapshot/journal.js";
import type { JournalRecord } from "../snapshot/journal-record.js";
import { planRecovery, removeSessionSnapshots } from "../snapshot/recovery.js";
import { openHypervisor, prepareConnection, rememberedServer, type ServerChoice } from "./connection.js";
import { askUmount } from "./control-client.js";
import { mountAt, type MountInfo, readMounts, sessionOfMount } from "./mount-info.js";
import { canonicalMountPoint } from "./mount-point.js";
import { listSessions, type SessionEntry } from "./session-list.js";
import { isSessionId, type StatePaths } from "./state-paths.js";

export interface UnmountOptions {
  readonly config: Config;
  readonly paths: StatePaths;
  readonly choice: ServerChoice;
  readonly logger: Logger;
  readonly force: boolean;
  readonly onProgress: (what: string, percent: number | undefined) => void;
}

export interface UnmountResult {
  readonly mountPoint: string;
  readonly session: string | undefined;
  /** One sentence. */
  readonly message: string;
}

/**
 * Removes the mount and its snapshot, whoever is left of it: a live daemon is asked; a dead one's mount is detached
 * and its snapshot found through the journal. Nothing to do is success.
 * @param target a mount point or a session id
 * @throws BusyError while files are open; LeftoverError when the snapshot remains; RefusedError for foreign mounts
 */
export async function unmountTarget(target: string, options: UnmountOptions): Promise<UnmountResult> {
  const sessions = await listSessions(options.paths);
  const mountPoint = await canonicalMountPoint(target);
  const named = isSessionId(target) ? sessions.filter((entry) => entry.id === target) : [];
  const found = named.length > 0 ? named : sessions.filter((entry) => entry.facts?.mountPoint === mountPoint);
  if (found.length === 0) return unmountUnknown(mountPoint, options);
  let result: UnmountResult | undefined;
  // A live session last: an older one may have left its mount below.
  for (const entry of found.sort((a, b) => Number(a.isLive) - Number(b.isLive))) {
    result = await unmountSession(entry, options);
  }
  return result ?? nothingToDo(mountPoint);
}

export async function unmountSession(entry: SessionEntry, options: UnmountOptions): Promise<UnmountResult> {
  const mountPoint = entry.facts?.mountPoint ?? "";
  if (!entry.isLive) return recoverSession(entry, options);
  try {
    const message = await askUmount(options.paths.controlSocket(entry.id), options);
    return { mountPoint, session: entry.id, message };
  } catch (error) {
    if (!(error instanceof UnreachableError)) throw error;
    // It may have ended, well or badly, while we knocked.
    const now = (await listSessions(options.paths)).find(({ id }) => id === entry.id);
    if (now === undefined) return { mountPoint, session: entry.id, message: `Unmounted "${mountPoint}"` };
    if (now.isLive) throw error;
    return recoverSession(now, options);
  }
}

/** A session whose daemon is gone: killed, crashed, or before a reboot. */
async function recoverSession(entry: SessionEntry, options: UnmountOptions): Promise<UnmountResult> {
  const { paths, logger } = options;
  const mountPoint = entry.facts?.mountPoint ?? "";
  if (entry.damage !== undefined) {
    throw new LeftoverError(`Cannot clean up session ${entry.id}: its journal is damaged (${entry.damage})`, {
      hint: `Look for a snapshot named "vmmount-${entry.id}" and remove it by hand, then delete ${paths.journal(entry.id)}`,
    });
  }
  await using journal = await FileJournal.open(paths.journal(entry.id), entry.id);
  await detachStale(mountPoint, entry.id, logger);
  const records: JournalRecord[] = [];
  for await (const record of journal.replay()) records.push(record);
  const plan = planRecovery(records);
  let removed = 0;
  if (plan.action === "remove-snapshot") {
    await journal.append({ event: "removing", snapshot: plan.facts.snapshotName });
    removed = await removeThroughServer(entry.id, plan.facts, options);
    await journal.append({ event: "removed" });
  }
  await rm(paths.controlSocket(entry.id), { force: true });
  await journal.erase();
  const what = removed > 0 ? "removed the snapshot" : "found no snapshot of it";
  return { mountPoint, session: entry.id, message: `Cleaned up dead session ${entry.id} of "${mountPoint}": ${what}` };
}

async function removeThroughServer(
  session: string,
  facts: NonNullable<SessionEntry["facts"]>,
  options: UnmountOptions,
): Promise<number> {
  const { config, logger } = options;
  const timeoutMs = config.settings["snapshot.remove_timeout"];
  const signal = deadline(timeoutMs, () => new UnreachableError("Removing the snapshot took too long"));
  try {
    const connection = await prepareConnection(rememberedServer(config, facts.server), options.choice);
    await using hypervisor = await openHypervisor(connection, logger, signal);
    return await removeSessionSnapshots(session, facts, hypervisor, {
      signal,
      logger,
      onProgress: ({ what, percent }) => {
        options.onProgress(what, percent);
      },
    });
  } catch (error) {
    throw new LeftoverError(
      `Cannot remove snapshot "${facts.snapshotName}" of "${facts.vm.name}" on ${facts.server.url}: ${errorChain(error)}`,
      { cause: error, hint: `Run "vmmount umount ${session}" again when that is solved; the journal keeps it` },
    );
  }
}

/** A mount point without a session: nothing there, a mount of ours without journal, or somebody else's. */
async function unmountUnknown(mountPoint: string, options: UnmountOptions): Promise<UnmountResult> {
  if (isSessionId(mountPoint)) throw new NotFoundError(`Cannot find session "${mountPoint}"`);
  const mount = mountAt(await readMounts(), mountPoint);
  if (mount === undefined) return nothingToDo(mountPoint);
  const session = sessionOfMount(mount);
  if (session === undefined) throw foreign(mount);
  await detachStale(mountPoint, session, options.logger);
  throw new LeftoverError(`Unmounted "${mountPoint}", but the journal of its session ${session} is missing`, {
    hint: `Look for a snapshot named "vmmount-${session}" and remove it by hand`,
  });
}

function nothingToDo(mountPoint: string): UnmountResult {
  return { mountPoint, session: undefined, message: `Nothing is mounted on "${mountPoint}"` };
}

function foreign(mount: MountInfo): RefusedError {
  return new RefusedError(
    `Cannot unmount "${mount.mountPoint}": it is "${mount.source}" (${mount.type}), not a mount of vmmount`,
  );
}

/** Detaches what a dead daemon left: its files only answer "Transport endpoint is not connected". */
async function detachStale(mountPoint: string, session: string, logger: Logger): Promise<void> {
  const mount = mountAt(await readMounts(), mountPoint);
  if (mount === undefined || sessionOfMount(mount) !== session) return;
  await umount(mountPoint, MNT_DETACH | UMOUNT_NOFOLLOW);
  logger.info(`Detached the dead mount on "${mountPoint}"`);
}
