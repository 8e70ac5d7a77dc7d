import { constants } from "node:os";
import { CancelledError, errorChain, errorFacts, UnreachableError, UsageError } from "../errors.js";
import { forbidCoreDumps } from "../libc.js";
import { createLogger, type Logger, SecretTexts } from "../log.js";
import { poolSourceOf } from "../pool-source.js";
import { isXenUrl } from "../xen-url.js";
import { chooseFuseDriver } from "./choose-fuse-driver.js";
import { ControlServer } from "./control-server.js";
import type { ControlMessage } from "./control-protocol.js";
import { DaemonLog, pruneLogs } from "./daemon-log.js";
import type { FromDaemon, MountRequest, ToDaemon, VmPlace } from "./daemon-protocol.js";
import { DaemonSignals } from "./daemon-signals.js";
import { MountSession } from "./mount-session.js";
import type { MountContext } from "./mount-steps.js";
import type { MountedSession } from "./mounted-session.js";
import { listSessions } from "./session-list.js";
import { StatePaths } from "./state-paths.js";
import { ProgressLog } from "../progress-log.js";

/** The front command may ask a person for the password first; when it ends, so do we, at once. */
const REQUEST_WAIT_MS = 30 * 60_000;

/**
 * The mount daemon: takes one request over IPC, mounts, reports, lets go of its parent, and serves until somebody
 * unmounts; then removes the snapshot and ends.
 * @returns the exit code, which only a supervisor sees
 * @throws UsageError when a person started it
 */
export async function runDaemon(): Promise<number> {
  if (process.send === undefined) {
    throw new UsageError("Cannot start a mount daemon by hand", { hint: "vmmount mount starts one" });
  }
  forbidCoreDumps();
  const parent = new ParentChannel();
  let failure: unknown;
  try {
    const request = await parent.request();
    await new StatePaths(request.settings).prepare();
    await serve(request, parent);
    return 0;
  } catch (error) {
    failure = error;
    return errorFacts(error).code;
  } finally {
    if (failure !== undefined) await parent.send({ type: "failed", error: errorFacts(failure) });
    parent.letGo();
  }
}

async function serve(request: MountRequest, parent: ParentChannel): Promise<void> {
  const paths = new StatePaths(request.settings);
  const file = new DaemonLog(paths.log(request.session));
  const secrets = new SecretTexts();
  secrets.add(request.connection.password);
  let isReported = false;
  const logger = createLogger({
    level: request.settings["log.level"],
    secrets,
    write: (line) => {
      file.write(line);
      if (!isReported) void parent.send({ type: "log", line });
    },
  });
  pruneLogs(paths.logs, new Set([request.session, ...(await listSessions(paths)).map(({ id }) => id)]));
  const progress = new ProgressFan(parent, new ProgressLog(logger));
  const signals = new DaemonSignals(logger);
  parent.onGiveUp((reason) => {
    signals.giveUp(reason);
  });
  // While somebody listens, main.ts leaves the end to us; the log must say why.
  const onUncaught = (error: Error): void => {
    logger.error(`Stopped by a bug in vmmount: ${error.stack ?? error.message}`);
    signals.stop("Stopped by a bug in vmmount", constants.signals.SIGTERM);
  };
  process.on("uncaughtExceptionMonitor", onUncaught);
  const onWarning = (warning: Error): void => {
    logger.warn(`${warning.name}: ${warning.message}`);
  };
  process.on("warning", onWarning);
  try {
    const session = await start({
      request,
      driver: chooseFuseDriver(request.settings, { logger }),
      program: process.argv[1] ?? "",
      logger,
      onProgress: progress.report,
      signal: signals.givenUp,
      ...(request.waitsForTurn && { awaitTurn: (place: VmPlace) => parent.turn(place, signals.givenUp) }),
    });
    await serveUntilUnmounted(session, { paths, request, logger, parent, progress, signals });
  } catch (error) {
    // The parent hears of it as the outcome; one line of it is enough.
    isReported = true;
    logger.error(errorChain(error));
    throw error;
  } finally {
    signals.release();
    process.off("uncaughtExceptionMonitor", onUncaught).off("warning", onWarning);
    file.close();
  }
}

async function start(context: MountContext): Promise<MountedSession> {
  const { connection, locator } = context.request;
  const source = isXenUrl(connection.url) ? poolSourceOf(locator.form) : undefined;
  if (source === undefined) return await MountSession.start(context);
  const { PoolSession } = await import("./pool-session.js");
  return await PoolSession.start(source, context);
}

interface Serving {
  readonly paths: StatePaths;
  readonly request: MountRequest;
  readonly logger: Logger;
  readonly parent: ParentChannel;
  readonly progress: ProgressFan;
  readonly signals: DaemonSignals;
}

async function serveUntilUnmounted(session: MountedSession, serving: Serving): Promise<void> {
  const { logger, parent, signals } = serving;
  const finished = session.closed
    .catch((error: unknown) => {
      logger.error(`The FUSE driver failed: ${errorChain(error)}`);
      return "the driver failed";
    })
    .then((reason) => session.finish(reason));
  // Whoever waits below hears of a failure; nobody may be waiting yet.
  finished.catch(() => undefined);
  const abandon = async (why: string): Promise<void> => {
    logger.info(`${why}: unmounting`);
    await session.detach({ force: true });
  };
  let control: ControlServer | undefined;
  try {
    control = await listen(session, finished, serving);
    // Open files get errors: after SIGTERM comes SIGKILL, which would leave the snapshot.
    signals.onServing({
      abandon: (why) => {
        abandon(why).catch((error: unknown) => {
          logger.error(`Cannot detach the mount: ${errorChain(error)}`);
        });
      },
      detach: () => session.detach({ force: true }),
    });
    signals.givenUp.throwIfAborted();
    await parent.send({ type: "ready", status: session.status });
    parent.letGo();
  } catch (error) {
    try {
      // Why is told as the outcome.
      await abandon("Cannot go on");
      await finished;
    } finally {
      await control?.[Symbol.asyncDispose]();
    }
    throw error;
  }
  try {
    await finished;
  } finally {
    // Control clients that wait for the same outcome get their line before the socket goes.
    await new Promise((resolve) => setImmediate(resolve));
    await control[Symbol.asyncDispose]();
  }
}

function listen(session: MountedSession, finished: Promise<string>, serving: Serving): Promise<ControlServer> {
  const { paths, request, logger, progress } = serving;
  return ControlServer.listen(
    paths.controlSocket(request.session),
    async (asked, send) => {
      if (asked.op === "status") {
        send({ type: "status", status: session.status });
        return;
      }
      const stop = progress.add(send);
      try {
        // umount(2) frees the kernel's cache of the disks before it returns: all may be finished, and the control socket
        // closed, while it still does.
        await Promise.race([session.detach({ force: asked.force }), finished]);
        send({ type: "done", message: await finished });
      } finally {
        stop();
      }
    },
    logger,
  );
}

/** Logs progress, and sends it to the parent until it is let go, and to every control client that waits. */
class ProgressFan {
  readonly #clients = new Set<(message: ControlMessage) => void>();
  readonly #parent: ParentChannel;
  readonly #log: ProgressLog;

  constructor(parent: ParentChannel, log: ProgressLog) {
    this.#parent = parent;
    this.#log = log;
  }

  readonly report = ({ what, percent }: { what: string; percent: number | undefined }): void => {
    this.#log.report(what, percent);
    void this.#parent.send({ type: "progress", what, percent });
    for (const send of this.#clients) send({ type: "progress", what, ...(percent !== undefined && { percent }) });
  };

  add(send: (message: ControlMessage) => void): () => void {
    this.#clients.add(send);
    return () => this.#clients.delete(send);
  }
}

/** The front command at the other end of the IPC channel, for as long as it is there. */
class ParentChannel {
  #gone: ((reason: CancelledError) => void) | undefined;
  #cancelled: CancelledError | undefined;
  #released = false;

  constructor() {
    process.on("disconnect", () => {
      if (!this.#released) this.#giveUp(new CancelledError("The command that mounts went away", { signal: 0 }));
    });
    process.on("message", (message) => {
      const to = message as ToDaemon;
      if (to.type === "cancel") {
        this.#giveUp(new CancelledError("Stopped by a signal", { signal: to.signal }));
      }
    });
  }

  /**
   * @throws CancelledError when the parent is gone, UnreachableError when it says nothing
   */
  async request(): Promise<MountRequest> {
    // Gone before anybody listened: the event will not come.
    if (!process.connected) throw new CancelledError("The command that mounts went away", { signal: 0 });
    const asked = new Promise<MountRequest>((resolve, reject) => {
      const timer = setTimeout(() => {
        const hint = "The command waited half an hour, for the password perhaps: run it again";
        reject(new UnreachableError("Cannot start the mount daemon: nobody told it what to mount", { hint }));
      }, REQUEST_WAIT_MS);
      this.onGiveUp((reason) => {
        clearTimeout(timer);
        reject(reason);
      });
      process.on("message", (message) => {
        const to = message as ToDaemon;
        if (to.type !== "mount") return;
        clearTimeout(timer);
        resolve(to.request);
      });
    });
    await this.send({ type: "listening" });
    return asked;
  }

  /** Says that only the snapshot is missing, and waits until it may be made. @throws the reason of `signal` */
  async turn(place: VmPlace, signal: AbortSignal): Promise<void> {
    signal.throwIfAborted();
    const allowed = new Promise<void>((resolve, reject) => {
      process.on("message", (message) => {
        if ((message as ToDaemon).type === "proceed") resolve();
      });
      signal.addEventListener(
        "abort",
        () => {
          reject(signal.reason as Error);
        },
        { once: true },
      );
    });
    await this.send({ type: "prepared", place });
    await allowed;
  }

  /** `callback` hears, once, that the parent wants to stop or is gone. */
  onGiveUp(callback: (reason: CancelledError) => void): void {
    this.#gone = callback;
    if (this.#cancelled !== undefined) callback(this.#cancelled);
  }

  send(message: FromDaemon): Promise<void> {
    return new Promise((resolve) => {
      if (this.#released || process.send === undefined || !process.connected) resolve();
      else
        process.send(message, undefined, undefined, () => {
          resolve();
        });
    });
  }

  letGo(): void {
    this.#released = true;
    if (process.connected) process.disconnect();
  }

  #giveUp(reason: CancelledError): void {
    this.#cancelled ??= reason;
    this.#gone?.(this.#cancelled);
  }
}
