import { setTimeout as sleep } from "node:timers/promises";
import { BusyError, errorChain } from "../../errors.js";
import type { Logger } from "../../log.js";
import { type MountInfo, readMountInfo, topMountAt } from "../../mount-info.js";
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
  /** As the kernel listed it when it was new. */
  readonly mount: MountInfo;
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
      parts.logger.error("The FUSE driver failed", { where: parts.mount.mountPoint, reason: errorChain(error) });
    });
  }

  get statistics(): MountStatistics {
    return this.#parts.server.statistics;
  }

  async unmount(): Promise<void> {
    const { mount, calls, server } = this.#parts;
    const where = mount.mountPoint;
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
    const { mount, calls, server, logger } = this.#parts;
    const where = mount.mountPoint;
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
      logger.warn("The mount is dead but still listed, under another path or mount", { where, device: mount.device });
    }
    // A failure of the driver was reported by `closed`; the mount is gone all the same.
    await this.closed.catch(() => undefined);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.abandon();
  }

  async #serve(): Promise<MountEnd> {
    const { server, mount, logger } = this.#parts;
    try {
      const end = await server.serve(() => {
        this.abandon().catch((error: unknown) => {
          logger.error("Cannot take down a failed mount", { where: mount.mountPoint, reason: errorChain(error) });
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
    const { mount, server } = this.#parts;
    await Promise.race([this.closed.catch(() => undefined), server.hangUp?.(mount.mountPoint)]);
    // No path leads to it: not one of the calls reached a reader.
    if (!this.#ended) await this.#abort();
  }

  async #abort(): Promise<void> {
    const { mount, calls } = this.#parts;
    try {
      await abortConnection(mount.device);
    } catch (cause) {
      if (calls.isPrivileged) throw cause;
      const hint = "End the processes that use it; root can make them let go through /sys/fs/fuse/connections";
      throw new BusyError(`Cannot end the mount ${mount.mountPoint}: it was detached by hand and is still in use`, {
        cause,
        hint,
      });
    }
  }

  /** Whether unmounting the path would hit this mount and not a stranger's. */
  async #isOnTop(): Promise<boolean> {
    const top = topMountAt(await readMountInfo(), this.#parts.mount.mountPoint);
    return top !== undefined && this.#isOwn(top);
  }

  async #isListed(): Promise<boolean> {
    return (await readMountInfo()).some((mount) => this.#isOwn(mount));
  }

  /** The kernel gives the device number to the next mount as soon as this one is gone: alone it says little. */
  #isOwn({ device, type, source }: MountInfo): boolean {
    const { mount } = this.#parts;
    return device === mount.device && type === mount.type && source === mount.source;
  }
}
