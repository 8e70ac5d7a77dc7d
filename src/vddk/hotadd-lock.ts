import { closeSync, openSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { tryLock } from "../libc.js";

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

  private constructor(fd: number) {
    this.#fd = fd;
  }

  /** @param folder of this user's mounts */
  static open(folder: string): HotaddLock {
    return new HotaddLock(openSync(join(folder, NAME), "a", 0o600));
  }

  /** Runs `cleanUp` if nobody else has disks attached; the lock is held afterwards. @returns whether it ran */
  async whenAlone(cleanUp: () => Promise<void>): Promise<boolean> {
    const isAlone = tryLock(this.#fd, "exclusive");
    try {
      if (isAlone) await cleanUp();
    } finally {
      const end = performance.now() + WAIT_MS_MAX;
      while (!tryLock(this.#fd, "shared") && performance.now() < end) await delay(POLL_MS);
    }
    return isAlone;
  }

  [Symbol.dispose](): void {
    closeSync(this.#fd);
  }
}
