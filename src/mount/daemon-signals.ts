import { setMaxListeners } from "node:events";
import { constants } from "node:os";
import { CancelledError } from "../errors.js";
import type { Logger } from "../log.js";
import { StopRequests } from "../stop-requests.js";

/** Detaching takes milliseconds; whoever asked twice does not wait longer for it. */
const DETACH_WAIT_MS = 2000;

const STOPPING = ["SIGTERM", "SIGINT"] as const;

interface Mount {
  /** Goes on by itself; told why, as part of a sentence. */
  readonly abandon: (why: string) => void;
  /** Takes the mount away, and nothing else. */
  readonly detach: () => Promise<void>;
}

/**
 * Signals to the mount daemon. Before the mount is ready the first one gives it up; afterwards it unmounts. One more ends
 * the process where it is, with the mount taken away: the journal says what it leaves.
 */
export class DaemonSignals {
  readonly #giveUp = new AbortController();
  readonly #requests = new StopRequests();
  readonly #logger: Logger;
  #mount: Mount | undefined;

  constructor(logger: Logger) {
    this.#logger = logger;
    // Every disk that is opened and every question about it listens.
    setMaxListeners(0, this.#giveUp.signal);
    for (const name of STOPPING) process.on(name, this.#onSignal);
    process.on("SIGHUP", this.#onHangup);
  }

  /** Aborted with a CancelledError. */
  get givenUp(): AbortSignal {
    return this.#giveUp.signal;
  }

  /** From now on a signal unmounts. */
  onServing(mount: Mount): void {
    this.#mount = mount;
  }

  /** Gives the mount up, unless it is ready. */
  giveUp(reason: CancelledError): void {
    if (this.#mount === undefined) this.#giveUp.abort(reason);
  }

  /** As the first signal does, for a reason of our own, which never counts as asking twice. */
  stop(why: string, signal: number): void {
    if (this.#mount !== undefined) this.#mount.abandon(why);
    else this.#giveUp.abort(new CancelledError(why, { signal }));
  }

  release(): void {
    for (const name of STOPPING) process.off(name, this.#onSignal);
    process.off("SIGHUP", this.#onHangup);
  }

  readonly #onSignal = (name: NodeJS.Signals): void => {
    const asked = this.#requests.next();
    if (asked === "stop") this.stop(`Stopped by ${name}`, constants.signals[name]);
    else if (asked === "force") void this.#leave(name);
  };

  // The terminal that started us may close; the mount stays.
  readonly #onHangup = (): void => {
    this.#logger.debug("Ignored SIGHUP");
  };

  async #leave(name: NodeJS.Signals): Promise<void> {
    this.#logger.warn(`Stopped by ${name}, which came again: the journal keeps what is left, for "vmmount gc"`);
    const late = new Promise((resolve) => setTimeout(resolve, DETACH_WAIT_MS));
    await Promise.race([this.#mount?.detach().catch(() => undefined), late]);
    // Without a listener the signal ends the process at once; process.exit() would wait for threads, and they for the kernel.
    process.removeAllListeners(name);
    process.kill(process.pid, name);
  }
}
