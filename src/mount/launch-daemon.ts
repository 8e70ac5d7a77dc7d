import { type ChildProcess, spawn } from "node:child_process";
import { RemoteError, VmmountError } from "../errors.js";
import type { FromDaemon } from "./daemon-protocol.js";
import { absolutePath } from "./mount-point.js";
import { newSessionId } from "./state-paths.js";

/** The device readers block in libuv's pool; files, DNS and crypto need threads beside them. */
const DAEMON_THREADS = 16;

/** Of V8's young generation, in MiB, in place of 16: what reads leave behind dies at once, and the daemon peaks 40 MB lower. */
const SEMI_SPACE_MIB = 4;

export type DaemonEnd =
  { readonly failure: Error } | { readonly code: number | null; readonly by: NodeJS.Signals | null };

/**
 * The process of a mount daemon that nobody has asked for anything yet: it loads its modules, says that it listens, and
 * waits. It runs in a session of its own, without stdio. Whoever launched it either takes it over, or dismisses it.
 */
export class LaunchedDaemon {
  readonly session: string;
  /** Resolves when it can be asked; never when it ends before. */
  readonly listening: Promise<void>;
  /** Resolves when it is no process any more, or never became one. */
  readonly ended: Promise<DaemonEnd>;
  readonly #child: ChildProcess;
  #isTaken = false;

  private constructor(child: ChildProcess, session: string) {
    this.session = session;
    this.#child = child;
    let told: Error | undefined;
    this.listening = new Promise((resolve) => {
      child.on("message", (message) => {
        const from = message as FromDaemon;
        if (from.type === "listening") resolve();
        // Nobody else may be listening yet: it does not wait for its request for ever.
        if (from.type === "failed") told = new RemoteError(from.error);
      });
    });
    this.ended = new Promise((resolve) => {
      child.once("error", (cause) => {
        resolve({ failure: cannotStart(cause) });
      });
      // "close" and not "exit": the last words may still be in the channel when the process is gone.
      child.once("close", (code: number | null, by: NodeJS.Signals | null) => {
        resolve(told === undefined ? { code, by } : { failure: told });
      });
    });
  }

  /**
   * @param program the one to run as the daemon: this one
   * @param where the mount point, which the daemon's arguments show
   * @throws VmmountError when the system refuses at once, and what `absolutePath` throws; other refusals are its end
   */
  static launch(program: string, where: string, session = newSessionId()): LaunchedDaemon {
    const words = [`--max-semi-space-size=${SEMI_SPACE_MIB}`, program, "daemon", session, absolutePath(where)];
    return new LaunchedDaemon(spawned([...process.execArgv, ...words]), session);
  }

  /** Undefined when it is no process: after its end the number may be another's. */
  get pid(): number | undefined {
    const { pid, exitCode, signalCode } = this.#child;
    return exitCode === null && signalCode === null ? pid : undefined;
  }

  /** From now on it may make things, and ends by its own rules. */
  take(): ChildProcess {
    this.#isTaken = true;
    return this.#child;
  }

  /** Ends one that was not taken over, and waits until it is gone: it was told nothing and so has made nothing. */
  async dismiss(): Promise<void> {
    if (this.#isTaken) return;
    this.#child.kill("SIGKILL");
    await this.ended;
  }
}

function spawned(args: readonly string[]): ChildProcess {
  try {
    return spawn(process.execPath, args, {
      detached: true,
      // The caller's working directory may be a mount that must be unmountable, or vanish.
      cwd: "/",
      stdio: ["ignore", "ignore", "ignore", "ipc"],
      env: { ...process.env, UV_THREADPOOL_SIZE: String(DAEMON_THREADS) },
    });
  } catch (cause) {
    throw cannotStart(cause);
  }
}

function cannotStart(cause: unknown): VmmountError {
  return new VmmountError(`Cannot start the mount daemon: ${(cause as Error).message}`, "internal", {
    cause,
    hint: "The machine may be out of memory, or the user may not have more processes (ulimit -u)",
  });
}
