import { PoolGuest } from "./pool-guest.js";
import { textOf } from "./value.js";
import type { XenPool } from "./xen-pool.js";

export interface LabPoolDisk {
  /** `0`, `1` … */
  readonly userdevice: string;
  /** Reference and uuid of the VDI. */
  readonly ref: string;
  readonly uuid: string;
  readonly bytes: number;
}

/** A machine of the pool as tests see it, past all protocols. */
export class LabPoolVm {
  readonly ref: string;
  readonly guest: PoolGuest;
  readonly #pool: XenPool;

  constructor(pool: XenPool, ref: string) {
    this.#pool = pool;
    this.ref = ref;
    this.guest = new PoolGuest(pool, ref);
  }

  get name(): string {
    return this.#pool.database.text("VM", this.ref, "name_label");
  }

  get uuid(): string {
    return this.#pool.database.text("VM", this.ref, "uuid");
  }

  get power(): string {
    return this.#pool.database.text("VM", this.ref, "power_state");
  }

  /** Disks in the order of their device numbers. */
  get disks(): readonly LabPoolDisk[] {
    const { database, store } = this.#pool;
    return database
      .where("VBD", "VM", this.ref)
      .map((vbd) => database.row("VBD", vbd))
      .filter((row) => row["type"] === "Disk" && row["empty"] !== true)
      .map((row) => {
        const ref = textOf(row["VDI"]);
        return {
          userdevice: textOf(row["userdevice"]),
          ref,
          uuid: database.text("VDI", ref, "uuid"),
          bytes: store.size(ref),
        };
      })
      .sort((a, b) => Number(a.userdevice) - Number(b.userdevice));
  }

  /** References of the snapshots, oldest first. */
  get snapshots(): readonly string[] {
    return this.#pool.database.where("VM", "snapshot_of", this.ref);
  }
}
