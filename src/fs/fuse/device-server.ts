import { close } from "node:fs";
import { promisify } from "node:util";
import { statFileSystem } from "../../libc.js";
import type { MountEnd, MountStatistics } from "../fuse-driver.js";
import { DEVICE_READERS, readRequests } from "./device.js";
import { dispatch } from "./dispatch.js";
import type { RequestServer } from "./request-server.js";
import type { Session } from "./session.js";

const closeDescriptor = promisify(close);

/** Answers requests on the device by itself. */
export class DeviceServer implements RequestServer {
  /** A read(2) of the device returns when the kernel lets go. */
  readonly noticeMs = 0;
  readonly #fd: number;
  readonly #session: Session;
  #hungUp = false;

  /** @param fd the connected device; this object closes it */
  constructor(fd: number, session: Session) {
    this.#fd = fd;
    this.#session = session;
  }

  get statistics(): MountStatistics {
    return this.#session.statistics;
  }

  serve(failed: () => void): Promise<MountEnd> {
    return readRequests(this.#fd, {
      request: (message) => {
        dispatch(this.#session, message);
      },
      hungUp: () => this.#hungUp,
      failed,
    });
  }

  /**
   * The kernel ends a connection when its device is closed, and it can be closed when no read(2) waits on it. What makes a
   * waiting read return is a request, and statfs(2) always is one. Nobody answers it: it ends, like every other request,
   * with the connection. This looks at a path inside the mount, which otherwise would wait for ourselves, on purpose.
   */
  async hangUp(where: string): Promise<void> {
    this.#hungUp = true;
    await Promise.allSettled(Array.from({ length: DEVICE_READERS }, () => statFileSystem(where)));
  }

  async close(): Promise<void> {
    this.#session.end();
    await this.#session.replies.close();
    await closeDescriptor(this.#fd);
  }
}
