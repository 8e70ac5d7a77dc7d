import type { ChildProcess } from "node:child_process";
import { constants } from "node:os";
import { CancelledError, RemoteError, VmmountError } from "../errors.js";
import type { Logger } from "../log.js";
import { leaveCgroup } from "./cgroup.js";
import type { SessionStatus } from "./control-protocol.js";
import { daemonEnded } from "./daemon-process.js";
import type { FromDaemon, MountRequest, ToDaemon, VmPlace } from "./daemon-protocol.js";
import type { DaemonEnd, LaunchedDaemon } from "./launch-daemon.js";

/** A daemon that was told to stop removes its snapshot first; then it is left alone, and the journal remembers. */
const CANCEL_WAIT_MS = 10 * 60_000;

/** Loading the program takes a fraction of a second; a machine that swaps takes longer. */
const LISTEN_WAIT_MS = 60_000;

const LIMITS = { cancelWaitMs: CANCEL_WAIT_MS, listenWaitMs: LISTEN_WAIT_MS };

export interface StartOptions {
  readonly logger: Logger;
  /** A line of the daemon's log, as JSON. */
  readonly onLog: (line: string) => void;
  readonly onProgress: (what: string, percent: number | undefined) => void;
  /** Aborted with a CancelledError by SIGINT, SIGTERM or SIGHUP. */
  readonly signal: AbortSignal;
  /** With `waitsForTurn`: resolves when the daemon may make its snapshot. */
  readonly onPrepared?: ((place: VmPlace) => Promise<void>) | undefined;
  /** Shorter in tests. */
  readonly limits?: typeof LIMITS;
}

/**
 * Asks a daemon to mount, and waits until its tree can be read.
 * @throws RemoteError: the daemon's own error, after it cleaned up; CancelledError after the signal. One that was never
 *   asked is left for its launcher to dismiss.
 */
export async function startDaemon(
  daemon: LaunchedDaemon,
  request: MountRequest,
  options: StartOptions,
): Promise<SessionStatus> {
  options.signal.throwIfAborted();
  const child = daemon.take();
  try {
    return await negotiate(daemon, child, request, options);
  } catch (error) {
    // It has told its failure and cleaned up: what remains is its exit, and "nothing is left" should mean nothing.
    if (child.connected) child.disconnect();
    if (error instanceof RemoteError && child.pid !== undefined) await daemonEnded(child.pid, request.session);
    throw error;
  } finally {
    if (child.connected) child.disconnect();
    child.unref();
  }
}

async function negotiate(
  daemon: LaunchedDaemon,
  child: ChildProcess,
  request: MountRequest,
  options: StartOptions,
): Promise<SessionStatus> {
  const over = new AbortController();
  const outcome = outcomeOf(daemon, child, request, options, over.signal);
  // It may fail before anybody waits for it.
  outcome.catch(() => undefined);
  try {
    if (daemon.pid !== undefined) await leaveCgroup(daemon.pid, request.session, options.logger);
    return await outcome;
  } finally {
    over.abort();
    child.removeAllListeners("message");
  }
}

/** What the daemon says, or that it dies, or that we stop waiting for it; `over` ends every timer and listener. */
function outcomeOf(
  daemon: LaunchedDaemon,
  child: ChildProcess,
  request: MountRequest,
  options: StartOptions,
  over: AbortSignal,
): Promise<SessionStatus> {
  const { cancelWaitMs, listenWaitMs } = options.limits ?? LIMITS;
  return new Promise<SessionStatus>((resolve, reject) => {
    const listening = after(listenWaitMs, over, () => {
      // It was told nothing and so has made nothing.
      child.kill("SIGKILL");
      reject(neverListened(request));
    });
    void daemon.listening.then(() => {
      clearTimeout(listening);
      if (!over.aborted) tell(child, { type: "mount", request });
    });
    child.on("message", (message) => {
      // Both ends are this program.
      const from = message as FromDaemon;
      switch (from.type) {
        case "listening":
          break;
        case "log":
          options.onLog(from.line);
          break;
        case "progress":
          options.onProgress(from.what, from.percent);
          break;
        case "prepared":
          options.onPrepared?.(from.place).then(
            () => {
              tell(child, { type: "proceed" });
            },
            (error: unknown) => {
              // After a signal the daemon cleans up, as it is told below, and has the last word.
              if (!options.signal.aborted) reject(error instanceof Error ? error : new Error(String(error)));
            },
          );
          break;
        case "ready":
          resolve(from.status);
          break;
        case "failed":
          reject(new RemoteError(from.error));
          break;
      }
    });
    void daemon.ended.then((end) => {
      reject("failure" in end ? end.failure : diedSilently(request, end));
    });
    whenAborted(options.signal, over, () => {
      const reason = options.signal.reason instanceof CancelledError ? options.signal.reason : undefined;
      tell(child, { type: "cancel", signal: reason?.signal ?? constants.signals.SIGTERM });
      after(cancelWaitMs, over, () => {
        reject(
          new CancelledError("Stopped waiting for the mount daemon, which is still cleaning up", {
            signal: reason?.signal ?? 0,
            hint: `See "vmmount status", and then "vmmount umount ${request.session}"`,
          }),
        );
      });
    });
  });
}

function after(delayMs: number, over: AbortSignal, run: () => void): NodeJS.Timeout {
  const timer = setTimeout(run, delayMs);
  over.addEventListener("abort", () => {
    clearTimeout(timer);
  });
  return timer;
}

function whenAborted(signal: AbortSignal, over: AbortSignal, run: () => void): void {
  if (signal.aborted) run();
  else signal.addEventListener("abort", run, { once: true, signal: over });
}

function neverListened(request: MountRequest): VmmountError {
  return new VmmountError(`Cannot mount on "${request.mountPoint}": the mount daemon does not start`, "internal", {
    hint: "The machine may be out of memory: see its system log",
  });
}

function tell(child: ChildProcess, message: ToDaemon): void {
  // A daemon that just died is reported by its "exit" event.
  if (child.connected) child.send(message, () => undefined);
}

function diedSilently(request: MountRequest, { code, by }: Exclude<DaemonEnd, { failure: Error }>): VmmountError {
  const how = by === null ? `with exit code ${code ?? "?"}` : `by ${by}`;
  const text = `Cannot mount on "${request.mountPoint}": the mount daemon ended ${how} without a word`;
  const hint = `Run "vmmount umount ${request.session}" to remove what it may have left`;
  // Somebody asked it twice to stop.
  if (by === "SIGTERM" || by === "SIGINT") return new CancelledError(text, { signal: constants.signals[by], hint });
  return new VmmountError(text, "internal", { hint });
}
