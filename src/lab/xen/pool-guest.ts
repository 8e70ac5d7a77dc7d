import { NotFoundError, RefusedError } from "../../errors.js";
import { RandomWritings, type Writing, type WritingLimits } from "../random-writing.js";
import { textOf } from "./value.js";
import type { XenPool } from "./xen-pool.js";

/** The operating system inside a machine of the pool, as far as its disks notice: it writes while it runs. */
export class PoolGuest {
  readonly #pool: XenPool;
  readonly #vm: string;
  readonly #writings = new RandomWritings();

  constructor(pool: XenPool, vm: string) {
    this.#pool = pool;
    this.#vm = vm;
  }

  /** Waits while the disk is being snapshotted. @throws RefusedError when the machine is off */
  async write(userdevice: string, offset: number, bytes: Uint8Array): Promise<void> {
    if (!this.#isRunning()) throw new RefusedError("Cannot write inside the machine: it is not running");
    await this.#pool.store.write(this.#disk(userdevice), offset, bytes);
  }

  /** Overwrites random blocks of a disk (`0`, `1` …) with random bytes until stopped. */
  startWriting({ userdevice, ...limits }: WritingLimits & { readonly userdevice: string }): Writing {
    const disk = {
      sizeBytes: this.#pool.store.size(this.#disk(userdevice)),
      isRunning: () => this.#isRunning(),
      write: (offset: number, bytes: Uint8Array) => this.write(userdevice, offset, bytes),
    };
    return this.#writings.start(disk, limits);
  }

  stopAll(): Promise<void> {
    return this.#writings.stopAll();
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
