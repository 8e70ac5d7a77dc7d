import { closeSync, openSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { BusyError, errorChain } from "../errors.js";
import { tryLock } from "../libc.js";
import type { Logger } from "../log.js";

const NAME = "vddk-hotadd.lock";
/** Somebody else cleans up meanwhile, for as long as the library takes. */
const WAIT_MS_MAX = 60_000;
const POLL_MS = 100;

/**
 * Says that this process attaches disks to this machine (flock(2), shared). The library can remove what crashed processes have left,
 * but whether it spares what living ones use is written nowhere: it is asked to only while nobody else holds the lock.
 */
export class HotaddLock implements Disposable {
  readonly #fd: number;
  readonly #waitMsMax: number;

  private constructor(fd: number, waitMsMax: number) {
    this.#fd = fd;
    this.#waitMsMax = waitMsMax;
  }

  /** @param folder of this user's mounts */
  static open(folder: string, waitMsMax = WAIT_MS_MAX): HotaddLock {
    return new HotaddLock(openSync(join(folder, NAME), "a+", 0o600), waitMsMax);
  }

  /**
   * Opens it, cleans up if nobody else has disks attached, and holds it.
   * @param cleanUp may fail: what is left behind stays there then
   * @throws BusyError as `whenAlone`
   */
  static async take(folder: string, cleanUp: () => Promise<void>, logger: Logger): Promise<HotaddLock> {
    const lock = HotaddLock.open(folder);
    try {
      const isDone = await lock.whenAlone(async () => {
        await cleanUp().catch((error: unknown) => {
          logger.warn(`What crashed processes left attached to this machine stays there: ${errorChain(error)}`);
        });
      });
      if (!isDone) logger.debug("Other mounts have disks attached to this machine: nothing is cleaned up");
      return lock;
    } catch (error) {
      lock[Symbol.dispose]();
      throw error;
    }
  }

  /**
   * Runs `cleanUp` if nobody else has disks attached; the lock is held afterwards.
   * @returns whether it ran
   * @throws BusyError when somebody else is not done with cleaning up: without the lock, the next one who cleans up would
   * take for left behind what this process attaches
   */
  async whenAlone(cleanUp: () => Promise<void>): Promise<boolean> {
    const isAlone = tryLock(this.#fd, "exclusive");
    try {
      if (isAlone) await cleanUp();
    } finally {
      await this.#share();
    }
    return isAlone;
  }

  async #share(): Promise<void> {
    const end = performance.now() + this.#waitMsMax;
    while (!tryLock(this.#fd, "shared")) {
      if (performance.now() >= end) throw stillCleaning(this.#waitMsMax);
      await delay(POLL_MS);
    }
  }

  [Symbol.dispose](): void {
    closeSync(this.#fd);
  }
}

function stillCleaning(waitedMs: number): BusyError {
  const waited = `${Math.round(waitedMs / 1000)} s`;
  return new BusyError(`Cannot attach disks to this machine: another mount has been cleaning up here for ${waited}`, {
    retryable: true,
    hint: "Try again later, or use another transport (--transport)",
  });
}
