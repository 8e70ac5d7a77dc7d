import { rm } from "node:fs/promises";
import type { Config } from "../config.js";
import { deadline } from "../deadline.js";
import {
  BusyError,
  errorChain,
  errorFacts,
  LeftoverError,
  NotFoundError,
  RefusedError,
  UnreachableError,
} from "../errors.js";
import type { Logger } from "../log.js";
import { retry } from "../retry.js";
import { serverRetryPolicy } from "../settings.js";
import { FileJournal } from "../snapshot/journal.js";
import type { JournalRecord } from "../snapshot/journal-record.js";
import { createdRef, planRecovery, removeSessionSnapshots } from "../snapshot/recovery.js";
import { openHypervisor, prepareConnection, rememberedServer, type ServerChoice } from "./connection.js";
import { askUmount, nobodyListens } from "./control-client.js";
import { controlEndpoint } from "./control-endpoint.js";
import { daemonAt, daemonEnded, type DaemonProcess, findDaemon } from "./daemon-process.js";
import { unmountByHand, unmountThrough } from "./daemon-unmount.js";
import { detachDead } from "./dead-mount.js";
import { detachLeftDisks, endLeftAccess, type LeftParts } from "./disk-transports.js";
import { type MountInfo, readMountInfo, topMountAt } from "../mount-info.js";
import { ownerOfMount, sessionOfMount } from "./mount-source.js";
import { canonicalMountPoint } from "./mount-point.js";
import { listSessions, type SessionEntry } from "./session-list.js";
import { isSessionId, type StatePaths } from "./state-paths.js";

export interface UnmountOptions {
  readonly config: Config;
  readonly paths: StatePaths;
  readonly choice: ServerChoice;
  readonly logger: Logger;
  readonly force: boolean;
  /** Aborted with a CancelledError to stop waiting. */
  readonly signal?: AbortSignal | undefined;
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
  if (found.length === 0) return unmountUnknown(target, mountPoint, options);
  // The live session first: it is what the user means, its mount is on top, and an old one that cannot be cleaned up
  // must not keep its snapshot alive.
  const failures: unknown[] = [];
  const results: UnmountResult[] = [];
  for (const entry of found.sort((a, b) => Number(b.isLive) - Number(a.isLive))) {
    try {
      results.push(await unmountSession(entry, options));
    } catch (error) {
      failures.push(error);
    }
  }
  for (const failure of failures.slice(1)) options.logger.error(errorChain(failure));
  if (failures.length > 0) throw failures[0] as Error;
  return results[0] ?? nothingToDo(mountPoint);
}

export async function unmountSession(entry: SessionEntry, options: UnmountOptions): Promise<UnmountResult> {
  const mountPoint = entry.facts?.mountPoint ?? "";
  if (!entry.isLive) return recoverSession(entry, options);
  const user = process.geteuid?.() ?? 0;
  let goesOn = false;
  try {
    const { path, owner } = await controlEndpoint(entry.id, (await daemonOf(entry))?.uid ?? user, options.paths);
    const message = await askUmount(path, { ...options, owner });
    return { mountPoint, session: entry.id, message };
  } catch (error) {
    goesOn = ["busy", "signal"].includes(errorFacts(error).name);
    if (!(error instanceof UnreachableError)) throw error;
    await unmountUnheard(entry, error, options);
    // It may have ended, well or badly, while we knocked.
    const now = (await listSessions(options.paths)).find(({ id }) => id === entry.id);
    if (now === undefined) {
      const log = options.paths.log(entry.id);
      options.logger.warn(`The mount daemon ended before it could say whether every read had succeeded: see ${log}`);
      const message = hasSnapshot(entry)
        ? `Unmounted "${mountPoint}" and removed its snapshot`
        : `Unmounted "${mountPoint}"`;
      return { mountPoint, session: entry.id, message };
    }
    if (now.isLive) {
      goesOn = true;
      throw new BusyError(`Cannot unmount session ${entry.id}: its process works on it and does not answer`, {
        cause: error,
        retryable: true,
        hint: "It is being mounted or cleaned up: try again in a minute",
      });
    }
    return await recoverSession(now, options);
  } finally {
    if (!goesOn && entry.facts !== undefined && !(await daemonEnded(entry.facts.pid, entry.id))) {
      options.logger.debug(`The mount daemon ${entry.facts.pid} still runs`);
    }
  }
}

async function daemonOf({ id, facts }: SessionEntry): Promise<DaemonProcess | undefined> {
  return facts && (await daemonAt(facts.pid, id));
}

/** A daemon whose socket is gone, as when its runtime directory was removed, still notices that its mount is gone. */
async function unmountUnheard(entry: SessionEntry, error: UnreachableError, options: UnmountOptions): Promise<void> {
  const daemon = await daemonOf(entry);
  const mountPoint = entry.facts?.mountPoint ?? "";
  if (daemon === undefined || !nobodyListens(error) || (await ownMountAt(mountPoint, entry.id)) === undefined) return;
  await unmountByHand(daemon, entry.id, mountPoint, options);
}

/** A session whose daemon is gone: killed, crashed, or before a reboot. */
async function recoverSession(entry: SessionEntry, options: UnmountOptions): Promise<UnmountResult> {
  const { paths } = options;
  const mountPoint = entry.facts?.mountPoint ?? "";
  if (entry.damage !== undefined) {
    throw new LeftoverError(`Cannot clean up session ${entry.id}: its journal is damaged (${entry.damage})`, {
      hint: `Look for a snapshot named "vmmount-${entry.id}" and remove it by hand, then delete ${paths.journal(entry.id)}`,
    });
  }
  await using journal = await takeOver(entry, paths);
  if (journal === undefined) {
    return { mountPoint, session: entry.id, message: `Session ${entry.id} of "${mountPoint}" is cleaned up already` };
  }
  await endMount(mountPoint, entry.id, options);
  const records: JournalRecord[] = [];
  for await (const record of journal.replay()) records.push(record);
  const plan = planRecovery(records);
  let removed = 0;
  if (plan.facts?.mayAttach === true) await detachLeftDisks(leftParts(plan.facts, options));
  if (plan.action === "remove-snapshot") {
    // Not journaled: until the journal is erased it says that the snapshot may exist, and looking again is harmless.
    removed = await removeThroughServer(entry.id, plan.facts, createdRef(records), options);
  }
  const identity = plan.facts?.accessIdentity;
  if (plan.facts !== undefined && identity !== undefined) await endLeftAccess(identity, leftParts(plan.facts, options));
  await rm(paths.controlSocket(entry.id), { force: true });
  await journal.erase();
  const what =
    removed > 0 ? "removed the snapshot" : hasSnapshot(entry) ? "found no snapshot of it" : "there was no snapshot";
  return { mountPoint, session: entry.id, message: `Cleaned up dead session ${entry.id} of "${mountPoint}": ${what}` };
}

function leftParts(facts: NonNullable<SessionEntry["facts"]>, { config, choice, logger }: UnmountOptions): LeftParts {
  const connect = () => prepareConnection(rememberedServer(config, facts.server, choice), choice);
  return { connect, settings: config.settings, vm: facts.vm.ref, logger, program: process.argv[1] ?? "" };
}

/** Whether the server of this session makes snapshots; a journal that says nothing yet is taken for one that may. */
function hasSnapshot({ facts }: SessionEntry): boolean {
  return facts === undefined || facts.snapshotName !== undefined;
}

/** The journal of a dead session; undefined when somebody else has just cleaned it up. */
async function takeOver(entry: SessionEntry, paths: StatePaths): Promise<FileJournal | undefined> {
  try {
    return await FileJournal.open(paths.journal(entry.id), entry.id);
  } catch (error) {
    if (error instanceof NotFoundError) return undefined;
    throw error;
  }
}

async function removeThroughServer(
  session: string,
  facts: NonNullable<SessionEntry["facts"]>,
  snapshot: string | undefined,
  options: UnmountOptions,
): Promise<number> {
  const { config, logger } = options;
  const timeoutMs = config.settings["snapshot.remove_timeout"];
  const tooLong = deadline(timeoutMs, () => new UnreachableError("Removing the snapshot took too long"));
  const signal = options.signal === undefined ? tooLong : AbortSignal.any([tooLong, options.signal]);
  try {
    const connection = await prepareConnection(rememberedServer(config, facts.server, options.choice), options.choice);
    await using hypervisor = await openHypervisor(connection, logger, signal);
    const remove = (): Promise<number> =>
      removeSessionSnapshots(session, facts, hypervisor, {
        signal,
        logger,
        createdRef: snapshot,
        unprovable: options.force ? "forget" : "keep",
        onProgress: ({ what, percent }) => {
          options.onProgress(what, percent);
        },
      });
    return await retry(remove, {
      policy: serverRetryPolicy(config.settings),
      signal,
      onRetry: ({ message }, attempt, waitMs) => {
        logger.warn(`${message}; attempt ${attempt + 1} follows in ${(waitMs / 1000).toFixed(0)} s`);
      },
    });
  } catch (error) {
    if (options.signal?.aborted === true) throw options.signal.reason as Error;
    throw new LeftoverError(
      `Cannot remove snapshot "${facts.snapshotName ?? ""}" of "${facts.vm.name}" on ${facts.server.url}: ${errorChain(error)}`,
      { cause: error, hint: `Run "vmmount umount ${session}" again when that is solved; the journal keeps it` },
    );
  }
}

/** A mount point without a session: nothing there, a mount of ours without journal, or somebody else's. */
async function unmountUnknown(target: string, mountPoint: string, options: UnmountOptions): Promise<UnmountResult> {
  const mount = topMountAt(await readMountInfo(), mountPoint);
  if (mount === undefined) {
    // Ended already, most likely: doing it twice is success.
    if (isSessionId(target)) {
      return { mountPoint, session: target, message: `No session "${target}" is left on this host: nothing to do` };
    }
    return nothingToDo(mountPoint);
  }
  const session = sessionOfMount(mount);
  if (session === undefined) throw foreign(mount);
  const message = await endMount(mountPoint, session, options);
  if (message !== undefined) return { mountPoint, session, message };
  throw new LeftoverError(`Unmounted "${mountPoint}", but the journal of its session ${session} is missing`, {
    hint: `Give the state.dir of the mount, or look for a snapshot named "vmmount-${session}" and remove it by hand`,
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

async function ownMountAt(mountPoint: string, session: string): Promise<MountInfo | undefined> {
  const mount = topMountAt(await readMountInfo(), mountPoint);
  return mount !== undefined && sessionOfMount(mount) === session ? mount : undefined;
}

/**
 * Takes away the mount of a session whose daemon nobody holds the journal of here, living or dead.
 * @returns what a living daemon said; undefined when there is none
 */
async function endMount(mountPoint: string, session: string, options: UnmountOptions): Promise<string | undefined> {
  const mount = await ownMountAt(mountPoint, session);
  if (mount === undefined) return undefined;
  const daemon = await findDaemon(session, ownerOfMount(mount) ?? 0);
  if (daemon !== undefined) return unmountThrough(daemon, session, mountPoint, options);
  await detachDead(mount, options);
  return undefined;
}
