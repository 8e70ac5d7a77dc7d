import { setTimeout as sleep } from "node:timers/promises";
import { promisify } from "node:util";
import type { MountEnd, MountStatistics } from "../fuse-driver.js";
import type { RequestServer } from "../fuse/request-server.js";
import { isFuseDescriptor } from "./fuse-descriptor.js";
import type { ServedFileSystem } from "./native-operations.js";
import type { NativeFuse } from "./package.js";

/** libfuse has no event for its end: one readlink(2) ten times a second costs nothing, and umount waits no longer. */
const END_POLL_MS = 100;

export interface LibfuseServerParts {
  readonly fuse: NativeFuse;
  /** libfuse's descriptor of the device, by its number in /proc/self/fd; libfuse closes it when it has ended. */
  readonly fd: string;
  readonly served: ServedFileSystem;
}

/** libfuse answers requests, in threads of its own, and ends when the kernel has let go and these have answered. */
export class LibfuseServer implements RequestServer {
  readonly noticeMs = 2 * END_POLL_MS;
  readonly #parts: LibfuseServerParts;

  constructor(parts: LibfuseServerParts) {
    this.#parts = parts;
  }

  get statistics(): MountStatistics {
    return this.#parts.served.statistics;
  }

  /** libfuse has mounted and serves already: this only waits for its end. An abort looks like an unmount to it. */
  async serve(): Promise<MountEnd> {
    while (await isFuseDescriptor(this.#parts.fd)) await sleep(END_POLL_MS);
    return "unmounted";
  }

  abortReads(): void {
    this.#parts.served.abortReads();
  }

  async close(): Promise<void> {
    const { fuse, served } = this.#parts;
    served.end();
    // Nothing is unmounted any more: the package drops the handle that keeps this process running.
    await promisify(fuse.unmount.bind(fuse))();
  }
}
