import { setTimeout as sleep } from "node:timers/promises";
import { promisify } from "node:util";
import { BusyError, errorChain } from "../../errors.js";
import { MNT_DETACH, MNT_FORCE, SystemCallError, umount, UMOUNT_NOFOLLOW } from "../../libc.js";
import type { Logger } from "../../log.js";
import { readMountInfo, topMountAt } from "../../mount-info.js";
import type { Mounted, MountEnd, MountStatistics } from "../fuse-driver.js";
import { abortConnection } from "../fuse/kernel-controls.js";
import { isFuseDescriptor } from "./fuse-descriptor.js";
import type { ServedFileSystem } from "./native-operations.js";
import type { NativeFuse } from "./package.js";

/** libfuse has no event for its end: one readlink(2) ten times a second costs nothing, and umount waits no longer. */
const END_POLL_MS = 100;

/**
 * After umount2(2) has returned the kernel lets go within milliseconds. When it does not, a copy of the mount lives in
 * another mount namespace, and waiting longer would wait for a stranger.
 */
const LET_GO_MS = 10_000;

export interface NativeMountParts {
  readonly fuse: NativeFuse;
  /** libfuse's descriptor of the device, by its number in /proc/self/fd; libfuse closes it when it has ended. */
  readonly fd: string;
  /** Absolute, without symbolic links: as the kernel lists it. */
  readonly where: string;
  /** `major:minor` of the mount. */
  readonly device: string;
  readonly served: ServedFileSystem;
  readonly logger: Logger;
}

/**
 * A mount that libfuse serves in this process. It is unmounted by umount2(2), as the kernel driver's is: the package's own
 * way is lazy even while files are open. Nothing in here looks at a path inside the mount: that would wait for ourselves.
 */
export class NativeMount implements Mounted {
  readonly closed: Promise<MountEnd>;
  readonly description: string;
  readonly #parts: NativeMountParts;
  #ended = false;
  #abandoned = false;

  constructor(parts: NativeMountParts, description: string) {
    this.#parts = parts;
    this.description = description;
    this.closed = this.#end();
    // Whoever cares awaits `closed`; a failure nobody awaits must not end the process before it can clean up.
    this.closed.catch((error: unknown) => {
      parts.logger.error("The FUSE driver failed", { where: parts.where, reason: errorChain(error) });
    });
  }

  get statistics(): MountStatistics {
    return this.#parts.served.statistics;
  }

  async unmount(): Promise<void> {
    const { where } = this.#parts;
    if (this.#ended) return;
    if (!(await this.#isOnTop())) {
      // Unmounted a moment ago, and libfuse is just noticing?
      if (!(await this.#isListed()) && (await this.#endsWithin(2 * END_POLL_MS))) return;
      const text = `Cannot unmount ${where}: another mount lies over it, or it was detached and files are still open`;
      throw new BusyError(text, { hint: `Look for it in /proc/self/mountinfo and with "fuser -vm ${where}"` });
    }
    try {
      await umount(where, UMOUNT_NOFOLLOW);
    } catch (error) {
      if (!(error instanceof SystemCallError) || error.code !== "EBUSY") throw error;
      const hint = `Close the files and leave the directory: "fuser -vm ${where}" shows who uses it`;
      throw new BusyError(`Cannot unmount ${where}: it is in use`, { cause: error, hint });
    }
    if (await this.#endsWithin(LET_GO_MS)) return;
    const hint = "A container or a service with a private view of the mounts holds a copy";
    throw new BusyError(`Cannot end the mount ${where}: it is unmounted here but still in use`, { hint });
  }

  async abandon(): Promise<void> {
    const { where, device, served, logger } = this.#parts;
    this.#abandoned = true;
    if (await this.#isOnTop()) {
      // Forcing aborts the connection but leaves a mount with open files where it is; detaching takes it away.
      await this.#forcibly(MNT_FORCE);
      if (await this.#isOnTop()) await this.#forcibly(MNT_DETACH);
    } else if (!this.#ended) {
      await abortConnection(device);
    }
    // Their callers have their error; libfuse's threads end only when these have answered.
    served.abortReads();
    if (await this.#isListed()) {
      logger.warn("The mount is dead but still listed, under another path or mount", { where, device });
    }
    // A failure of the driver was reported by `closed`; the mount is gone all the same.
    await this.closed.catch(() => undefined);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.abandon();
  }

  async #end(): Promise<MountEnd> {
    const { fuse, fd, served } = this.#parts;
    try {
      while (await isFuseDescriptor(fd)) await sleep(END_POLL_MS);
      // An abort by umount -f ends libfuse like an unmount, but the mount is still there.
      return this.#abandoned || (await this.#isListed()) ? "aborted" : "unmounted";
    } finally {
      this.#ended = true;
      served.end();
      // Nothing is unmounted any more: the package drops the handle that keeps this process running.
      await promisify(fuse.unmount.bind(fuse))();
    }
  }

  /** @returns false when it has not ended by then */
  async #endsWithin(timeoutMs: number): Promise<boolean> {
    const stop = new AbortController();
    try {
      const late = sleep(timeoutMs, false, { signal: stop.signal }).catch(() => false);
      return await Promise.race([this.closed.then(() => true), late]);
    } finally {
      stop.abort();
    }
  }

  async #forcibly(flag: number): Promise<void> {
    try {
      await umount(this.#parts.where, flag | UMOUNT_NOFOLLOW);
    } catch (error) {
      // EBUSY is what forcing says when files are open; EINVAL: somebody else unmounted it in between.
      if (!(error instanceof SystemCallError) || !["EBUSY", "EINVAL"].includes(error.code)) throw error;
    }
  }

  /** Whether unmounting the path would hit this mount and not a stranger's. */
  async #isOnTop(): Promise<boolean> {
    return topMountAt(await readMountInfo(), this.#parts.where)?.device === this.#parts.device;
  }

  async #isListed(): Promise<boolean> {
    return (await readMountInfo()).some((mount) => mount.device === this.#parts.device);
  }
}
