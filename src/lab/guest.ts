import { RefusedError } from "../errors.js";
import type { Machine } from "./machine.js";
import { RandomWritings, type Writing, type WritingLimits } from "./random-writing.js";

/** The operating system inside a machine, as far as its disks notice: it writes while it runs. */
export class Guest {
  readonly #machine: Machine;
  readonly #writings = new RandomWritings();

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
  startWriting({ diskKey, ...limits }: WritingLimits & { readonly diskKey: number }): Writing {
    const disk = {
      sizeBytes: this.#machine.disk(diskKey).capacity,
      isRunning: () => this.#machine.power === "on",
      write: (offset: number, bytes: Uint8Array) => this.write(diskKey, offset, bytes),
    };
    return this.#writings.start(disk, limits);
  }

  stopAll(): Promise<void> {
    return this.#writings.stopAll();
  }
}
