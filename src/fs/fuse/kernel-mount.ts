import { close } from "node:fs";
import { promisify } from "node:util";
import { BusyError, errorChain } from "../../errors.js";
import { statFileSystem } from "../../libc.js";
import type { Logger } from "../../log.js";
import type { Mounted, MountEnd, MountStatistics } from "../fuse-driver.js";
import { DEVICE_READERS, readRequests } from "./device.js";
import { dispatch } from "./dispatch.js";
import { abortConnection } from "./kernel-controls.js";
import { readMountInfo, topMountAt } from "../../mount-info.js";
import type { MountCalls } from "./mount-calls.js";
import type { Session } from "./session.js";

/**
 * After umount2(2) has returned the kernel lets go within milliseconds. When it does not, a copy of the mount lives in
 * another mount namespace, and waiting longer would wait for a stranger.
 */
const LET_GO_MS = 10_000;

export interface KernelMountParts {
  /** The device; this object closes it. */
  readonly fd: number;
  /** Absolute, without symbolic links: as the kernel lists it. */
  readonly where: string;
  /** `major:minor` of the mount. */
  readonly device: string;
  readonly calls: MountCalls;
  readonly session: Session;
  readonly logger: Logger;
}

/**
 * A mount that this process serves. Nothing in here looks at a path inside it, which would wait for ourselves; `#hangUp`
 * does so on purpose.
 */
export class KernelMount implements Mounted {
  readonly closed: Promise<MountEnd>;
  description = "";
  readonly #parts: KernelMountParts;
  #ended = false;
  #abandoned = false;
  #hungUp = false;

  constructor(parts: KernelMountParts) {
    this.#parts = parts;
    this.closed = this.#serve();
    // Whoever cares awaits `closed`; a failure nobody awaits must not end the process before it can clean up.
    this.closed.catch((error: unknown) => {
      parts.logger.error("The FUSE driver failed", { where: parts.where, reason: errorChain(error) });
    });
  }

  get statistics(): MountStatistics {
    return this.#parts.session.statistics;
  }

  async unmount(): Promise<void> {
    const { where } = this.#parts;
    if (this.#ended) return;
    if (!(await this.#isOnTop())) {
      const text = `Cannot unmount ${where}: another mount lies over it, or it was detached and files are still open`;
      throw new BusyError(text, { hint: `Look for it in /proc/self/mountinfo and with "fuser -vm ${where}"` });
    }
    await this.#parts.calls.unmount(where);
    await this.#letGo();
  }

  async abandon(): Promise<void> {
    const { where, device, calls } = this.#parts;
    this.#abandoned = true;
    if (await this.#isOnTop()) {
      if (calls.force !== undefined) await calls.force(where);
      else if (!this.#ended) await this.#hangUp();
      // Ending the connection leaves a mount with open files where it is; detaching takes it away.
      if (await this.#isOnTop()) await calls.detach(where);
    } else if (!this.#ended) {
      await this.#abort();
    }
    if ((await readMountInfo()).some((mount) => mount.device === device)) {
      this.#parts.logger.warn("The mount is dead but still listed, under another path or mount", { where, device });
    }
    // A failure of the driver was reported by `closed`; the mount is gone all the same.
    await this.closed.catch(() => undefined);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.abandon();
  }

  async #serve(): Promise<MountEnd> {
    const { fd, session, logger, where } = this.#parts;
    try {
      const end = await readRequests(fd, {
        request: (message) => {
          dispatch(session, message);
        },
        hungUp: () => this.#hungUp,
        failed: () => {
          this.abandon().catch((error: unknown) => {
            logger.error("Cannot take down a failed mount", { where, reason: errorChain(error) });
          });
        },
      });
      // An abort by umount -f looks like an unmount to the device, but the mount is still there.
      return end === "aborted" || this.#abandoned || (await this.#isListed()) ? "aborted" : "unmounted";
    } finally {
      this.#ended = true;
      session.end();
      await session.replies.close();
      await promisify(close)(fd);
    }
  }

  async #letGo(): Promise<void> {
    const { where } = this.#parts;
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<never>((_, reject) => {
      timer = setTimeout(() => {
        const hint = "A container or a service with a private view of the mounts holds a copy";
        reject(new BusyError(`Cannot end the mount ${where}: it is unmounted here but still in use`, { hint }));
      }, LET_GO_MS);
    });
    try {
      await Promise.race([this.closed, late]);
    } finally {
      clearTimeout(timer);
    }
  }

  /**
   * Ends the connection without any right: the kernel does so when the device is closed, and it can be closed when no
   * read(2) waits on it. What makes a waiting read return is a request, and statfs(2) always is one. Nobody answers it:
   * it ends, like every other request, with the connection. The kernel's control files are the second choice: not
   * every machine has them mounted.
   */
  async #hangUp(): Promise<void> {
    this.#hungUp = true;
    const { where } = this.#parts;
    const statfs = Array.from({ length: DEVICE_READERS }, () => statFileSystem(where));
    await Promise.race([this.closed.catch(() => undefined), Promise.allSettled(statfs)]);
    // No path leads to it: not one of the calls reached a reader.
    if (!this.#ended) await this.#abort();
  }

  async #abort(): Promise<void> {
    const { where, device, calls } = this.#parts;
    try {
      await abortConnection(device);
    } catch (cause) {
      if (calls.isPrivileged) throw cause;
      const hint = "End the processes that use it; root can make them let go through /sys/fs/fuse/connections";
      throw new BusyError(`Cannot end the mount ${where}: it was detached by hand and is still in use`, {
        cause,
        hint,
      });
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
