import type { Config } from "../config.js";
import {
  AmbiguousError,
  BusyError,
  errorChain,
  errorFacts,
  LeftoverError,
  RefusedError,
  UnreachableError,
} from "../errors.js";
import type { Logger } from "../log.js";
import { type MountInfo, readMountInfo, topMountAt } from "../mount-info.js";
import { isElsewhere } from "../snapshot/host.js";
import type { SessionFacts } from "../snapshot/journal-record.js";
import {
  type Connection,
  openHypervisor,
  prepareConnection,
  rememberedServer,
  type ServerChoice,
} from "./connection.js";
import { askUmount, nobodyListens } from "./control-client.js";
import { controlEndpoint } from "./control-endpoint.js";
import { daemonAt, daemonEnded, type DaemonProcess, silenceHint } from "./daemon-process.js";
import { unmountByHand } from "./daemon-unmount.js";
import { canonicalMountPoint } from "./mount-point.js";
import { sessionOfMount } from "./mount-source.js";
import { recoverInTurn } from "./recover-in-turn.js";
import { endMount, ownMountAt, type RecoverOptions } from "./recover-session.js";
import { listSessions, type SessionEntry } from "./session-list.js";
import { sessionsOfVm } from "./sessions-of-vm.js";
import { isSessionId, type StatePaths } from "./state-paths.js";

/** A daemon that has closed its socket has only to forget its session and to log out. */
const LAST_MOMENTS_MS = 2000;

export interface UnmountOptions {
  readonly config: Config;
  readonly paths: StatePaths;
  readonly choice: ServerChoice;
  readonly logger: Logger;
  readonly force: boolean;
  /** A server that is known to be reached like this: its password need not be found again. */
  readonly known?: Connection | undefined;
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
 * @param target a mount point, a session id, or a VM that one session of this host shows
 * @throws BusyError while files are open; LeftoverError when the snapshot remains; RefusedError for foreign mounts
 */
export async function unmountTarget(target: string, options: UnmountOptions): Promise<UnmountResult> {
  const sessions = await listSessions(options.paths);
  const named = isSessionId(target) ? sessions.filter((entry) => entry.id === target) : [];
  // A session's id needs no working directory, which may be gone.
  const mountPoint = named[0] === undefined ? await canonicalMountPoint(target) : (named[0].facts?.mountPoint ?? "");
  const isHere = ({ facts }: SessionEntry): boolean => facts?.mountPoint === mountPoint && !isElsewhere(facts);
  const found = named.length > 0 ? named : sessions.filter(isHere);
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
  if (!entry.isLive) return recoverDead(entry, options);
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
    // Its socket goes a moment before its journal.
    if (nobodyListens(error) && entry.facts !== undefined) {
      await daemonEnded(entry.facts.pid, entry.id, LAST_MOMENTS_MS);
    }
    // It may have ended, well or badly, while we knocked.
    const now = (await listSessions(options.paths)).find(({ id }) => id === entry.id);
    if (now === undefined) {
      const log = options.paths.log(entry.id);
      options.logger.warn(`The mount daemon ended before it could say whether every read had succeeded: see ${log}`);
      const message = endsSnapshot(entry)
        ? `Unmounted "${mountPoint}" and removed its snapshot`
        : `Unmounted "${mountPoint}"`;
      return { mountPoint, session: entry.id, message };
    }
    // Without a daemon it is another command that holds its journal, to clean up as we would.
    const daemon = await daemonOf(now);
    if (!now.isLive || daemon === undefined) return await recoverDead(now, options);
    goesOn = true;
    throw new BusyError(`Cannot unmount session ${entry.id}: its process works on it and does not answer`, {
      cause: error,
      retryable: true,
      hint: silenceHint(daemon),
    });
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
  await unmountByHand(daemon, entry.id, mountPoint, { ...options, settings: options.config.settings });
}

/** A session whose daemon is gone: killed, crashed, or before a reboot. */
async function recoverDead(entry: SessionEntry, options: UnmountOptions): Promise<UnmountResult> {
  const message = await recoverInTurn(entry, recovering(options));
  return { mountPoint: entry.facts?.mountPoint ?? "", session: entry.id, message };
}

/** Each session's server is logged in to as the journal, the configuration and this command say. */
function recovering(options: UnmountOptions): RecoverOptions {
  const { config, choice, logger, known } = options;
  const connect = async (facts: SessionFacts): Promise<Connection> => {
    if (known?.url === facts.server.url && known.user === facts.server.user) return known;
    return await prepareConnection(rememberedServer(config, facts.server, choice), choice);
  };
  return {
    ...options,
    settings: config.settings,
    server: {
      connect,
      using: async (facts, signal, work) => {
        await using hypervisor = await openHypervisor(await connect(facts), logger, signal);
        return await work(hypervisor);
      },
    },
  };
}

/** Whether a session ends with the removal of a snapshot; a journal that says nothing yet is taken for one of those. */
function endsSnapshot({ facts }: SessionEntry): boolean {
  if (facts === undefined || facts.policy === "deleteonly") return true;
  return facts.snapshotName !== undefined && facts.policy !== "createonly";
}

/** A mount point without a session: nothing there, a mount of ours without journal, or somebody else's. */
async function unmountUnknown(target: string, mountPoint: string, options: UnmountOptions): Promise<UnmountResult> {
  const mount = topMountAt(await readMountInfo(), mountPoint);
  if (mount === undefined) {
    // Ended already, most likely: doing it twice is success.
    if (isSessionId(target)) {
      return { mountPoint, session: target, message: `No session "${target}" is left on this host: nothing to do` };
    }
    const [first, ...others] = sessionsOfVm(target, await listSessions(options.paths), options.config);
    if (first === undefined) return nothingToDo(mountPoint);
    if (others.length === 0) return await unmountSession(first, options);
    const mounts = [first, ...others].map(({ id, facts }) => `${id} on "${facts?.mountPoint ?? ""}"`);
    throw new AmbiguousError(`Cannot choose a session: ${others.length + 1} show VM ${JSON.stringify(target)}`, {
      hint: `Name one by its mount point or id: ${mounts.join("; ")}`,
    });
  }
  const session = sessionOfMount(mount);
  if (session === undefined) throw foreign(mount);
  const message = await endMount(mountPoint, session, { ...options, settings: options.config.settings });
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
