import { randomFillSync } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import { NotFoundError, RefusedError } from "../../errors.js";
import type { Writing } from "../guest.js";
import { textOf } from "./value.js";
import type { XenPool } from "./xen-pool.js";

export interface PoolWritingOptions {
  /** `0`, `1` … */
  readonly userdevice: string;
  /** Bytes per second at most; default 1 MiB. */
  readonly bytesPerSecond?: number | undefined;
  /** Bytes per write, whole sectors; default 4 KiB. */
  readonly blockBytes?: number | undefined;
  /** The part of the disk to write into; default all of it. */
  readonly from?: number | undefined;
  readonly to?: number | undefined;
}

const DEFAULT_RATE = 1024 * 1024;
const DEFAULT_BLOCK = 4096;

/** The operating system inside a machine of the pool, as far as its disks notice: it writes while it runs. */
export class PoolGuest {
  readonly #pool: XenPool;
  readonly #vm: string;
  readonly #writings = new Set<Writing>();

  constructor(pool: XenPool, vm: string) {
    this.#pool = pool;
    this.#vm = vm;
  }

  /** Waits while the disk is being snapshotted. @throws RefusedError when the machine is off */
  async write(userdevice: string, offset: number, bytes: Uint8Array): Promise<void> {
    if (!this.#isRunning()) throw new RefusedError("Cannot write inside the machine: it is not running");
    await this.#pool.store.write(this.#disk(userdevice), offset, bytes);
  }

  /** Overwrites random blocks with random bytes until stopped. */
  startWriting(options: PoolWritingOptions): Writing {
    const { userdevice, bytesPerSecond = DEFAULT_RATE, blockBytes = DEFAULT_BLOCK, from = 0 } = options;
    const end = options.to ?? this.#pool.store.size(this.#disk(userdevice));
    const blocks = Math.floor((end - from) / blockBytes);
    if (blocks < 1) throw new RangeError(`Cannot write blocks of ${blockBytes} bytes: the range holds none`);
    const abort = new AbortController();
    const done = { writes: 0, bytes: 0 };
    const block = new Uint8Array(blockBytes);
    const loop = async (): Promise<void> => {
      while (!abort.signal.aborted && this.#isRunning()) {
        randomFillSync(block);
        await this.write(userdevice, from + Math.floor(Math.random() * blocks) * blockBytes, block);
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

  #isRunning(): boolean {
    const { database } = this.#pool;
    return database.has("VM", this.#vm) && database.text("VM", this.#vm, "power_state") === "Running";
  }

  #disk(userdevice: string): string {
    const { database } = this.#pool;
    const vbd = database
      .where("VBD", "VM", this.#vm)
      .map((ref) => database.row("VBD", ref))
      .find((row) => row["userdevice"] === userdevice && row["type"] === "Disk");
    if (vbd === undefined) throw new NotFoundError(`Cannot find disk ${userdevice} of the machine`);
    return textOf(vbd["VDI"]);
  }
}
