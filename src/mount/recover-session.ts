import { deadline } from "../deadline.js";
import { errorChain, LeftoverError, NotFoundError, UnreachableError } from "../errors.js";
import type { Hypervisor, Progress } from "../hypervisor.js";
import type { Logger } from "../log.js";
import { type MountInfo, readMountInfo, topMountAt } from "../mount-info.js";
import { retry } from "../retry.js";
import { serverRetryPolicy, type Settings } from "../settings.js";
import { FileJournal } from "../snapshot/journal.js";
import { isElsewhere } from "../snapshot/host.js";
import type { JournalRecord, SessionFacts } from "../snapshot/journal-record.js";
import {
  createdRef,
  owesHook,
  planRecovery,
  type RecoveryPlan,
  removeSessionSnapshots,
  removeUsedSnapshot,
} from "../snapshot/recovery.js";
import type { Connection } from "./connection.js";
import { unmountThrough } from "./daemon-unmount.js";
import { findDaemon } from "./daemon-process.js";
import { detachDead } from "./dead-mount.js";
import { eraseSession } from "./erase-session.js";
import { detachLeftDisks, endLeftAccess, type LeftParts } from "./disk-transports.js";
import { removeEmptyFolder } from "./made-folder.js";
import { ownerOfMount, sessionOfMount } from "./mount-source.js";
import type { SessionEntry } from "./session-list.js";
import { type HookedMount, runOwedHook } from "./snapshot-hooks.js";
import type { StatePaths } from "./state-paths.js";

/** How the server of an earlier session is reached: logged in for it, or by who is logged in already. */
export interface EarlierServer {
  readonly connect: (facts: SessionFacts) => Promise<Connection>;
  readonly using: <T>(
    facts: SessionFacts,
    signal: AbortSignal,
    work: (hypervisor: Hypervisor) => Promise<T>,
  ) => Promise<T>;
}

export interface RecoverOptions {
  readonly settings: Settings;
  readonly paths: StatePaths;
  readonly logger: Logger;
  readonly server: EarlierServer;
  /** Detach a mount that neither answers nor fails, clean up after another machine, and forget what cannot be proved any more. */
  readonly force: boolean;
  /** Aborted with a CancelledError to stop waiting. */
  readonly signal?: AbortSignal | undefined;
  readonly onProgress: (what: string, percent: number | undefined) => void;
}

/**
 * Cleans up after a session whose daemon is gone: killed, crashed, or before a reboot. Doing it twice is harmless.
 * @returns one sentence for the user
 * @throws LeftoverError when something remains, or the session is another machine's, with the journal keeping it; BusyError when it has a process after all
 */
export async function recoverSession(entry: SessionEntry, options: RecoverOptions): Promise<string> {
  const { paths } = options;
  const mountPoint = entry.facts?.mountPoint ?? "";
  if (entry.damage !== undefined) {
    throw new LeftoverError(`Cannot clean up session ${entry.id}: its journal is damaged (${entry.damage})`, {
      hint: `Look for a snapshot named "vmmount-${entry.id}" and remove it by hand, then delete ${paths.journal(entry.id)}`,
    });
  }
  if (!options.force) refuseElsewhere(entry, paths);
  await using journal = await takeOver(entry, paths);
  if (journal === undefined) return `Session ${entry.id} of "${mountPoint}" is cleaned up already`;
  await endMount(mountPoint, entry.id, options);
  const records: JournalRecord[] = [];
  for await (const record of journal.replay()) records.push(record);
  const plan = planRecovery(records);
  const { facts } = plan;
  if (facts !== undefined && owesHook(records)) await runOwedHook(hookedMount(entry.id, facts, journal, options));
  if (facts?.mayAttach === true) await detachLeftDisks(leftParts(facts, options));
  // Not journaled: until the journal is erased it says that the snapshot may exist, and looking again is harmless.
  const removed = plan.action === "nothing" ? 0 : await removeThroughServer(entry.id, plan, records, options);
  const identity = facts?.accessIdentity;
  if (facts !== undefined && identity !== undefined) await endLeftAccess(identity, leftParts(facts, options));
  if (facts?.madeMountPoint === true) await removeEmptyFolder(mountPoint);
  await eraseSession(paths, entry.id, journal);
  return `Cleaned up dead session ${entry.id} of "${mountPoint}": ${outcome(plan, removed)}`;
}

/**
 * The journal alone came here, with a copy of state.dir or a clone of the machine: the mount may be read there at this moment.
 * @throws LeftoverError for a session of another machine
 */
export function refuseElsewhere({ id, facts }: SessionEntry, paths: StatePaths): void {
  if (facts === undefined || !isElsewhere(facts)) return;
  throw new LeftoverError(
    `Cannot clean up session ${id}: host "${facts.host}" began it, and its mount may be alive there`,
    {
      hint: `Delete ${paths.journal(id)} if it came with a copy; if this machine had that name, or that one is gone, run "vmmount umount --force ${id}"`,
    },
  );
}

function outcome(plan: RecoveryPlan, removed: number): string {
  if (removed > 0) return "removed the snapshot";
  if (plan.action !== "nothing") return "found no snapshot of it";
  const policy = plan.facts?.policy ?? "automatic";
  if (policy === "createonly") return "its snapshot stays, as the policy says";
  if (policy !== "automatic") return "the snapshot that it used stays";
  return plan.facts === undefined || plan.facts.snapshotName !== undefined
    ? "found no snapshot of it"
    : "there was no snapshot";
}

function leftParts(facts: SessionFacts, { server, settings, logger }: RecoverOptions): LeftParts {
  const connect = (): Promise<Connection> => server.connect(facts);
  return { connect, settings, vm: facts.vm.ref, logger, program: process.argv[1] ?? "" };
}

function hookedMount(
  session: string,
  { mountPoint, vm }: SessionFacts,
  journal: FileJournal,
  { settings, logger, onProgress }: RecoverOptions,
): HookedMount {
  const report = ({ what, percent }: Progress): void => {
    onProgress(what, percent);
  };
  return { session, mountPoint, vm, settings, journal, logger, onProgress: report };
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
  plan: Exclude<RecoveryPlan, { action: "nothing" }>,
  records: readonly JournalRecord[],
  options: RecoverOptions,
): Promise<number> {
  const { settings, logger, server } = options;
  const { facts } = plan;
  const timeoutMs = settings["snapshot.remove_timeout"];
  const tooLong = deadline(timeoutMs, () => new UnreachableError("Removing the snapshot took too long"));
  const signal = options.signal === undefined ? tooLong : AbortSignal.any([tooLong, options.signal]);
  const how = {
    signal,
    logger,
    unprovable: options.force ? ("forget" as const) : ("keep" as const),
    onProgress: ({ what, percent }: Progress) => {
      options.onProgress(what, percent);
    },
  };
  const remove = (hypervisor: Hypervisor): Promise<number> =>
    plan.action === "remove-used"
      ? removeUsedSnapshot(plan.used, facts, hypervisor, how)
      : removeSessionSnapshots(session, facts, hypervisor, { ...how, createdRef: createdRef(records) });
  const onRetry = ({ message }: Error, attempt: number, waitMs: number): void => {
    logger.warn(`${message}; attempt ${attempt + 1} follows in ${(waitMs / 1000).toFixed(0)} s`);
  };
  try {
    return await server.using(facts, signal, (hypervisor) =>
      retry(() => remove(hypervisor), { policy: serverRetryPolicy(settings), signal, onRetry }),
    );
  } catch (error) {
    if (options.signal?.aborted === true) throw options.signal.reason as Error;
    const name = plan.action === "remove-used" ? plan.used.name : (facts.snapshotName ?? "");
    throw new LeftoverError(
      `Cannot remove snapshot "${name}" of "${facts.vm.name}" on ${facts.server.url}: ${errorChain(error)}`,
      {
        cause: error,
        hint: `When that is solved, run "vmmount umount ${session}" or "vmmount gc"; the journal keeps it`,
      },
    );
  }
}

/** The mount of a session, if that is what lies on top there. */
export async function ownMountAt(mountPoint: string, session: string): Promise<MountInfo | undefined> {
  const mount = topMountAt(await readMountInfo(), mountPoint);
  return mount !== undefined && sessionOfMount(mount) === session ? mount : undefined;
}

/**
 * Takes away the mount of a session whose daemon nobody holds the journal of here, living or dead.
 * @returns what a living daemon said; undefined when there is none
 */
export async function endMount(
  mountPoint: string,
  session: string,
  options: Omit<RecoverOptions, "server">,
): Promise<string | undefined> {
  const mount = await ownMountAt(mountPoint, session);
  if (mount === undefined) return undefined;
  const daemon = await findDaemon(session, ownerOfMount(mount) ?? 0);
  if (daemon !== undefined) return unmountThrough(daemon, session, mountPoint, options);
  await detachDead(mount, options);
  return undefined;
}
