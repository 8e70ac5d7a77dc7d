import { randomFillSync } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";

export interface WritingLimits {
  /** Bytes per second at most; default 1 MiB. */
  readonly bytesPerSecond?: number | undefined;
  /** Bytes per write, whole sectors; default 4 KiB. */
  readonly blockBytes?: number | undefined;
  /** The part of the disk to write into; default all of it. */
  readonly from?: number | undefined;
  readonly to?: number | undefined;
}

export interface Writing {
  readonly written: () => { readonly writes: number; readonly bytes: number };
  /** Resolves when the write in progress has ended. @throws the error that ended the writing before */
  stop(): Promise<{ readonly writes: number; readonly bytes: number }>;
}

/** A disk as the guest of a running machine sees it. */
export interface GuestDisk {
  readonly sizeBytes: number;
  readonly isRunning: () => boolean;
  readonly write: (offset: number, bytes: Uint8Array) => Promise<void>;
}

const DEFAULT_RATE = 1024 * 1024;
const DEFAULT_BLOCK = 4096;

/** What a guest does to its disks while it runs: random blocks are overwritten with random bytes until stopped. */
export class RandomWritings {
  readonly #writings = new Set<Writing>();

  /** @throws RangeError when the range holds no block */
  start(disk: GuestDisk, limits: WritingLimits): Writing {
    const { bytesPerSecond = DEFAULT_RATE, blockBytes = DEFAULT_BLOCK, from = 0 } = limits;
    const blocks = Math.floor(((limits.to ?? disk.sizeBytes) - from) / blockBytes);
    if (blocks < 1) throw new RangeError(`Cannot write blocks of ${blockBytes} bytes: the range holds none`);
    const abort = new AbortController();
    const done = { writes: 0, bytes: 0 };
    const block = new Uint8Array(blockBytes);
    const loop = async (): Promise<void> => {
      while (!abort.signal.aborted && disk.isRunning()) {
        randomFillSync(block);
        await disk.write(from + Math.floor(Math.random() * blocks) * blockBytes, block);
        done.writes++;
        done.bytes += blockBytes;
        const pause = sleep((blockBytes / bytesPerSecond) * 1000, undefined, { signal: abort.signal });
        // Stopping ends the pause early.
        await pause.catch(() => undefined);
      }
    };
    const running = loop();
    // The error is reported by stop(); until then it must not count as unhandled.
    running.catch(() => undefined);
    const writing: Writing = {
      written: () => ({ ...done }),
      stop: async () => {
        abort.abort();
        this.#writings.delete(writing);
        await running;
        return { ...done };
      },
    };
    this.#writings.add(writing);
    return writing;
  }

  async stopAll(): Promise<void> {
    await Promise.allSettled([...this.#writings].map((writing) => writing.stop()));
  }
}
