import { setTimeout as sleep } from "node:timers/promises";
import { BusyError, errorChain } from "../../errors.js";
import type { Logger } from "../../log.js";
import { readMountInfo, topMountAt } from "../../mount-info.js";
import type { Mounted, MountEnd, MountStatistics } from "../fuse-driver.js";
import { abortConnection } from "./kernel-controls.js";
import type { MountCalls } from "./mount-calls.js";
import type { RequestServer } from "./request-server.js";

/**
 * After umount2(2) has returned the kernel lets go within milliseconds. When it does not, a copy of the mount lives in
 * another mount namespace, and waiting longer would wait for a stranger.
 */
const LET_GO_MS = 10_000;

export interface ServedMountParts {
  /** Absolute, without symbolic links: as the kernel lists it. */
  readonly where: string;
  /** `major:minor` of the mount. */
  readonly device: string;
  readonly calls: MountCalls;
  readonly server: RequestServer;
  readonly logger: Logger;
}

/** A mount that this process serves. Nothing in here looks at a path inside it: that would wait for ourselves. */
export class ServedMount implements Mounted {
  readonly closed: Promise<MountEnd>;
  description = "";
  readonly #parts: ServedMountParts;
  #ended = false;
  #abandoned = false;

  constructor(parts: ServedMountParts) {
    this.#parts = parts;
    this.closed = this.#serve();
    // Whoever cares awaits `closed`; a failure nobody awaits must not end the process before it can clean up.
    this.closed.catch((error: unknown) => {
      parts.logger.error("The FUSE driver failed", { where: parts.where, reason: errorChain(error) });
    });
  }

  get statistics(): MountStatistics {
    return this.#parts.server.statistics;
  }

  async unmount(): Promise<void> {
    const { where, calls, server } = this.#parts;
    if (this.#ended) return;
    if (!(await this.#isOnTop())) {
      // Unmounted a moment ago, and the server is just noticing?
      if (!(await this.#isListed()) && (await this.#endsWithin(server.noticeMs))) return;
      const text = `Cannot unmount ${where}: another mount lies over it, or it was detached and files are still open`;
      throw new BusyError(text, { hint: `Look for it in /proc/self/mountinfo and with "fuser -vm ${where}"` });
    }
    await calls.unmount(where);
    if (await this.#endsWithin(LET_GO_MS)) return;
    const hint = "A container or a service with a private view of the mounts holds a copy";
    throw new BusyError(`Cannot end the mount ${where}: it is unmounted here but still in use`, { hint });
  }

  async abandon(): Promise<void> {
    const { where, device, calls, server, logger } = this.#parts;
    this.#abandoned = true;
    if (await this.#isOnTop()) {
      if (calls.force !== undefined) await calls.force(where);
      else if (!this.#ended) await this.#hangUp();
      // Ending the connection leaves a mount with open files where it is; detaching takes it away.
      if (await this.#isOnTop()) await calls.detach(where);
    } else if (!this.#ended) {
      await this.#abort();
    }
    // Their callers have their error; libfuse's threads end only when these have answered.
    server.abortReads?.();
    if (await this.#isListed()) {
      logger.warn("The mount is dead but still listed, under another path or mount", { where, device });
    }
    // A failure of the driver was reported by `closed`; the mount is gone all the same.
    await this.closed.catch(() => undefined);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.abandon();
  }

  async #serve(): Promise<MountEnd> {
    const { server, where, logger } = this.#parts;
    try {
      const end = await server.serve(() => {
        this.abandon().catch((error: unknown) => {
          logger.error("Cannot take down a failed mount", { where, reason: errorChain(error) });
        });
      });
      // An abort by umount -f looks like an unmount to the server, but the mount is still there.
      return end === "aborted" || this.#abandoned || (await this.#isListed()) ? "aborted" : "unmounted";
    } finally {
      this.#ended = true;
      await server.close();
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

  /** The kernel's control files are the second choice: not every machine has them mounted. */
  async #hangUp(): Promise<void> {
    const { where, server } = this.#parts;
    await Promise.race([this.closed.catch(() => undefined), server.hangUp?.(where)]);
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
