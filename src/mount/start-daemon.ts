import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { constants } from "node:os";
import { CancelledError, RemoteError, VmmountError } from "../errors.js";
import type { Logger } from "../log.js";
import { leaveCgroup } from "./cgroup.js";
import type { SessionStatus } from "./control-protocol.js";
import type { FromDaemon, MountRequest, ToDaemon } from "./daemon-protocol.js";

/** The device readers block in libuv's pool; files, DNS and crypto need threads beside them. */
const DAEMON_THREADS = 16;

/** A daemon that was told to stop removes its snapshot first; then it is left alone, and the journal remembers. */
const CANCEL_WAIT_MS = 10 * 60_000;

export interface StartOptions {
  /** The program to run as the daemon: this one. */
  readonly program: string;
  readonly logger: Logger;
  /** A line of the daemon's log, as JSON. */
  readonly onLog: (line: string) => void;
  readonly onProgress: (what: string, percent: number | undefined) => void;
  /** Aborted with a CancelledError by SIGINT, SIGTERM or SIGHUP. */
  readonly signal: AbortSignal;
}

/**
 * Starts the mount daemon in a session of its own, without stdio, and waits until its tree can be read.
 * @throws RemoteError: the daemon's own error, after it cleaned up; CancelledError after the signal
 */
export async function startDaemon(request: MountRequest, options: StartOptions): Promise<SessionStatus> {
  const child = spawn(
    process.execPath,
    [...process.execArgv, options.program, "daemon", request.session, request.mountPoint],
    {
      detached: true,
      // The caller's working directory may be a mount that must be unmountable, or vanish.
      cwd: "/",
      stdio: ["ignore", "ignore", "ignore", "ipc"],
      env: { ...process.env, UV_THREADPOOL_SIZE: String(DAEMON_THREADS) },
    },
  );
  try {
    return await negotiate(child, request, options);
  } finally {
    if (child.connected) child.disconnect();
    child.unref();
  }
}

async function negotiate(child: ChildProcess, request: MountRequest, options: StartOptions): Promise<SessionStatus> {
  const { signal } = options;
  let timer: NodeJS.Timeout | undefined;
  const outcome = new Promise<SessionStatus>((resolve, reject) => {
    child.on("message", (message) => {
      // Both ends are this program.
      const from = message as FromDaemon;
      switch (from.type) {
        case "listening":
          tell(child, { type: "mount", request });
          break;
        case "log":
          options.onLog(from.line);
          break;
        case "progress":
          options.onProgress(from.what, from.percent);
          break;
        case "ready":
          resolve(from.status);
          break;
        case "failed":
          reject(new RemoteError(from.error));
          break;
      }
    });
    child.once("error", (error) => {
      reject(error);
    });
    child.once("exit", (code, by) => {
      reject(diedSilently(request, code, by));
    });
    const onAbort = (): void => {
      const reason = signal.reason instanceof CancelledError ? signal.reason : undefined;
      tell(child, { type: "cancel", signal: reason?.signal ?? constants.signals.SIGTERM });
      timer = setTimeout(() => {
        reject(
          new CancelledError("Stopped waiting for the mount daemon, which is still cleaning up", {
            signal: reason?.signal ?? 0,
            hint: `See "vmmount status", and then "vmmount umount ${request.session}"`,
          }),
        );
      }, CANCEL_WAIT_MS);
    };
    if (signal.aborted) onAbort();
    else signal.addEventListener("abort", onAbort, { once: true });
  });
  try {
    await once(child, "spawn", { signal });
    await leaveCgroup(child.pid ?? 0, request.session, options.logger);
    return await outcome;
  } finally {
    clearTimeout(timer);
    child.removeAllListeners("message");
    child.removeAllListeners("exit");
    outcome.catch(() => undefined);
  }
}

function tell(child: ChildProcess, message: ToDaemon): void {
  // A daemon that just died is reported by its "exit" event.
  if (child.connected) child.send(message, () => undefined);
}

function diedSilently(request: MountRequest, code: number | null, by: NodeJS.Signals | null): VmmountError {
  const how = by === null ? `with exit code ${code ?? "?"}` : `by ${by}`;
  return new VmmountError(
    `Cannot mount on "${request.mountPoint}": the mount daemon ended ${how} without a word`,
    "internal",
    {
      hint: `Run "vmmount umount ${request.session}" to remove what it may have left`,
    },
  );
}
