import { createHash } from "node:crypto";
import { NotFoundError } from "../errors.js";
import { Guest } from "./guest.js";
import type { Machine } from "./machine.js";

/** "now", or the reference of a snapshot such as `snapshot-104`. */
export type Moment = string;

export interface LabVmDisk {
  readonly key: number;
  /** `scsi0-0` */
  readonly node: string;
  readonly capacity: number;
  /** Whether snapshots cover it. */
  readonly inSnapshots: boolean;
}

/** Bytes hashed at a time. */
const HASH_CHUNK_BYTES = 4 * 1024 * 1024;

/** A machine as tests see it, past all protocols. */
export class LabVm {
  readonly guest: Guest;
  readonly #machine: Machine;

  constructor(machine: Machine) {
    this.#machine = machine;
    this.guest = new Guest(machine);
  }

  get name(): string {
    return this.#machine.name;
  }

  get ref(): string {
    return this.#machine.ref;
  }

  get power(): "on" | "off" | "suspended" {
    return this.#machine.power;
  }

  /** Absolute path of the folder with the machine's files. */
  get folder(): string {
    return this.#machine.files.path;
  }

  get instanceUuid(): string {
    return this.#machine.instanceUuid;
  }

  get biosUuid(): string {
    return this.#machine.biosUuid;
  }

  get disks(): LabVmDisk[] {
    return this.#machine.disks.map((disk) => ({
      key: disk.key,
      node: `${disk.slot.bus}${disk.slot.busNumber}-${disk.slot.unit}`,
      capacity: disk.capacity,
      inSnapshots: !disk.isOutsideSnapshots,
    }));
  }

  /** Oldest first. */
  get snapshots(): { readonly ref: string; readonly name: string; readonly quiesced: boolean }[] {
    return this.#machine.snapshots.map(({ ref, name, quiesced }) => ({ ref, name, quiesced }));
  }

  /** Whether delta files are left that no snapshot needs. */
  get consolidationNeeded(): boolean {
    return this.#machine.consolidationNeeded;
  }

  /** Whole sectors of a disk at a moment. */
  async readAt(diskKey: number, when: Moment, offset: number, length: number): Promise<Buffer> {
    const into = Buffer.alloc(length);
    await this.#machine.disk(diskKey).read(into, offset, this.#frozen(diskKey, when));
    return into;
  }

  /** SHA-256 of a whole disk at a moment, in hex. */
  async hashDisk(diskKey: number, when: Moment): Promise<string> {
    const disk = this.#machine.disk(diskKey);
    const frozen = this.#frozen(diskKey, when);
    const hash = createHash("sha256");
    const buffer = new Uint8Array(HASH_CHUNK_BYTES);
    for (let at = 0; at < disk.capacity;) {
      const chunk = buffer.subarray(0, Math.min(HASH_CHUNK_BYTES, disk.capacity - at));
      await disk.read(chunk, at, frozen);
      hash.update(chunk);
      at += chunk.length;
    }
    return hash.digest("hex");
  }

  #frozen(diskKey: number, when: Moment): string | undefined {
    if (when === "now") return undefined;
    const frozen = this.#machine.snapshot(when)?.disks.get(diskKey)?.frozen;
    if (frozen === undefined) throw new NotFoundError(`Cannot find disk ${diskKey} in ${when} of ${this.name}`);
    return frozen;
  }
}
