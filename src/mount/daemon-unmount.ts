import { deadline } from "../deadline.js";
import { BusyError, CancelledError, RefusedError, UnreachableError } from "../errors.js";
import { mountCalls } from "../fs/fuse/mount-rights.js";
import type { Logger } from "../log.js";
import type { Settings } from "../settings.js";
import { askUmount, nobodyListens } from "./control-client.js";
import { controlEndpoint } from "./control-endpoint.js";
import { daemonEnded, type DaemonProcess } from "./daemon-process.js";
import { busyMount } from "./holders.js";
import type { StatePaths } from "./state-paths.js";

export interface DaemonUnmountOptions {
  readonly settings: Settings;
  readonly paths: StatePaths;
  readonly logger: Logger;
  readonly force: boolean;
  /** Aborted with a CancelledError to stop waiting. */
  readonly signal?: AbortSignal | undefined;
  readonly onProgress: (what: string, percent: number | undefined) => void;
}

/** How long one look at the process table lasts, between two looks at `signal`. */
const LOOK_MS = 500;

/**
 * Unmounts through a living daemon that is known by its process alone, such as one whose journal is in another
 * state.dir. It is asked; where nobody listens at its socket any more, the mount is taken away as umount(8) does, upon
 * which the daemon removes its snapshot.
 * @returns one sentence for the user
 * @throws the daemon's own failure; BusyError while files are open; RefusedError for another user's daemon
 */
export async function unmountThrough(
  daemon: DaemonProcess,
  session: string,
  mountPoint: string,
  options: DaemonUnmountOptions,
): Promise<string> {
  const user = process.geteuid?.() ?? 0;
  if (user !== 0 && user !== daemon.uid) {
    throw new RefusedError(`Cannot unmount "${mountPoint}": user ${daemon.uid} mounted it`, {
      hint: "Run vmmount umount as that user, or as root",
    });
  }
  const { path, owner } = await controlEndpoint(session, daemon.uid, options.paths);
  try {
    const message = await askUmount(path, { ...options, owner });
    await daemonEnded(daemon.pid, session);
    return message;
  } catch (error) {
    if (!(error instanceof UnreachableError)) throw error;
    if (!nobodyListens(error)) throw silent(mountPoint, daemon, error);
  }
  await unmountByHand(daemon, session, mountPoint, options);
  options.logger.warn(
    `The mount daemon, process ${daemon.pid}, could not be asked whether every read had succeeded and its snapshot is ` +
      `removed: see its log, ${session}.log in the state.dir of the mount`,
  );
  return `Unmounted "${mountPoint}"; its mount daemon, process ${daemon.pid}, has ended`;
}

/**
 * Takes the mount away under a living daemon, and waits for the daemon's end.
 * @throws BusyError while files are open, or when the daemon does not end in time; CancelledError
 */
export async function unmountByHand(
  { pid }: DaemonProcess,
  session: string,
  mountPoint: string,
  { settings, force, signal, onProgress }: DaemonUnmountOptions,
): Promise<void> {
  // Its own way to unmount while files are open: their readers get errors, and the snapshot is removed.
  if (force) terminate(pid);
  else await plainUnmount(mountPoint);
  onProgress(`Waiting for mount daemon ${pid}, which removes its snapshot`, undefined);
  const late = deadline(
    settings["snapshot.remove_timeout"],
    () => new BusyError(`Unmounted "${mountPoint}", but its mount daemon, process ${pid}, does not end`),
  );
  while (!(await daemonEnded(pid, session, LOOK_MS))) {
    late.throwIfAborted();
    if (signal?.aborted === true) throw stoppedWaiting(signal.reason);
  }
}

function terminate(pid: number): void {
  try {
    process.kill(pid, "SIGTERM");
  } catch (error) {
    // It has just ended by itself.
    if ((error as NodeJS.ErrnoException).code !== "ESRCH") throw error;
  }
}

async function plainUnmount(mountPoint: string): Promise<void> {
  try {
    await (await mountCalls()).unmount(mountPoint);
  } catch (error) {
    if (!(error instanceof BusyError)) throw error;
    throw await busyMount(mountPoint, error);
  }
}

function silent(mountPoint: string, { pid }: DaemonProcess, cause: UnreachableError): BusyError {
  return new BusyError(`Cannot unmount "${mountPoint}": its mount daemon, process ${pid}, does not answer`, {
    cause,
    retryable: true,
    hint: "Try again in a minute",
  });
}

function stoppedWaiting(reason: unknown): CancelledError {
  return new CancelledError("Stopped waiting for the mount daemon, which goes on removing its snapshot", {
    cause: reason,
    signal: reason instanceof CancelledError ? reason.signal : 0,
  });
}
