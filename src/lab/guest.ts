import { randomFillSync } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import { RefusedError } from "../errors.js";
import type { Machine } from "./machine.js";

export interface WritingOptions {
  readonly diskKey: number;
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

const DEFAULT_RATE = 1024 * 1024;
const DEFAULT_BLOCK = 4096;

/** The operating system inside a machine, as far as its disks notice: it writes while it runs. */
export class Guest {
  readonly #machine: Machine;
  readonly #writings = new Set<Writing>();

  constructor(machine: Machine) {
    this.#machine = machine;
  }

  /** @throws RefusedError when the machine is off; RangeError for parts of sectors */
  async write(diskKey: number, offset: number, bytes: Uint8Array): Promise<void> {
    if (this.#machine.power !== "on")
      throw new RefusedError(`Cannot write inside ${this.#machine.name}: it is not running`);
    await this.#machine.disk(diskKey).write(bytes, offset);
  }

  /** Overwrites random blocks with random bytes until stopped. */
  startWriting(options: WritingOptions): Writing {
    const { diskKey, bytesPerSecond = DEFAULT_RATE, blockBytes = DEFAULT_BLOCK } = options;
    const from = options.from ?? 0;
    const blocks = Math.floor(((options.to ?? this.#machine.disk(diskKey).capacity) - from) / blockBytes);
    if (blocks < 1) throw new RangeError(`Cannot write blocks of ${blockBytes} bytes: the range holds none`);
    const abort = new AbortController();
    const done = { writes: 0, bytes: 0 };
    const block = new Uint8Array(blockBytes);
    const loop = async (): Promise<void> => {
      while (!abort.signal.aborted && this.#machine.power === "on") {
        randomFillSync(block);
        await this.write(diskKey, from + Math.floor(Math.random() * blocks) * blockBytes, block);
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
