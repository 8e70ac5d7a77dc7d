import { read } from "node:fs";
import type { MountEnd } from "../fuse-driver.js";
import { REQUEST_BYTES_MAX } from "./init.js";

/**
 * Reads that wait on the device at once. Each occupies a thread of the libuv pool for as long as the mount lives, so a
 * process that serves a mount needs UV_THREADPOOL_SIZE of at least this + 8 (set before the process starts: the pool
 * is created with its first use). Two are enough: while the event loop handles one request, the other read takes the
 * next one from the kernel.
 */
export const DEVICE_READERS = 2;

/** How the kernel ends a connection: by an unmount, or by an abort when ABORT_ERROR was negotiated. */
const ENDS: Readonly<Record<string, MountEnd>> = { ENODEV: "unmounted", ECONNABORTED: "aborted" };

/** A signal, or a request that vanished before it could be read: the next read goes on. */
const AGAIN = new Set(["EINTR", "ENOENT", "EAGAIN"]);

export interface RequestHandlers {
  /** The message is valid only during the call. */
  readonly request: (message: Uint8Array) => void;
  /** True when nobody wants to serve any more: no further read starts, and the message at hand is dropped. */
  readonly hungUp: () => boolean;
  /** A read or `request` failed. The connection must be aborted now: that alone ends the other reads. */
  readonly failed: () => void;
}

/**
 * Hands over every request until the kernel ends the connection, or `hungUp`, and no read is under way any more, so
 * that the descriptor may be closed. A read that waits notices `hungUp` only with the next request.
 * @throws what `request` threw, or the device's error
 */
export async function readRequests(fd: number, handlers: RequestHandlers): Promise<MountEnd> {
  const loops = Array.from({ length: DEVICE_READERS }, async () => {
    try {
      return await readLoop(fd, handlers);
    } catch (error) {
      handlers.failed();
      throw error;
    }
  });
  await Promise.allSettled(loops);
  const ends = await Promise.all(loops);
  return ends.includes("aborted") ? "aborted" : "unmounted";
}

function readLoop(fd: number, { request, hungUp }: RequestHandlers): Promise<MountEnd> {
  const buffer = Buffer.allocUnsafeSlow(REQUEST_BYTES_MAX);
  return new Promise((resolve, reject) => {
    // Callbacks, not promises: this is the path of every request.
    const next = (): void => {
      if (hungUp()) {
        resolve("aborted");
        return;
      }
      read(fd, buffer, 0, buffer.length, null, (error, length) => {
        const code = error?.code ?? "";
        const end = ENDS[code];
        if (end !== undefined) {
          resolve(end);
          return;
        }
        try {
          if (error === null && !hungUp()) request(buffer.subarray(0, length));
          else if (error !== null && !AGAIN.has(code)) throw error;
        } catch (failure) {
          reject(failure instanceof Error ? failure : new Error(String(failure)));
          return;
        }
        next();
      });
    };
    next();
  });
}
