import pLimit from "p-limit";
import { VmmountError } from "../../errors.js";
import { roomIn } from "../spool/spool-file.js";
import { loadAllocation } from "./allocation.js";
import type { DiskScope, XenVdi } from "./xen-vdi.js";

/** Tables of blocks that are asked for at once. */
const ASKING_MAX = 4;

/** The disks of a frozen VM that are copied before any place of them can be read. */
export interface CopiedTogether {
  readonly disks: readonly XenVdi[];
  readonly directory: string;
}

/**
 * What the copies of a VM's disks take. It is asked for all of them before the first is fetched: that there is no room for the
 * last one would be found hours later.
 */
export class CopyRoom {
  readonly #needed = new Map<string, Promise<ReadonlyMap<string, number>>>();
  /** References of disks that need no copy. */
  readonly #readElsewhere = new Set<string>();

  notNeededFor(disk: XenVdi): void {
    this.#readElsewhere.add(disk.ref);
  }

  /** @returns the bytes that a copy of the disk takes at most @throws VmmountError "space" */
  async neededFor(disk: XenVdi, together: CopiedTogether, scope: DiskScope, signal: AbortSignal): Promise<number> {
    const key = together.disks
      .map(({ ref }) => ref)
      .sort()
      .join();
    const asked = this.#needed.get(key) ?? this.#ask(together, scope, signal);
    this.#needed.set(key, asked);
    try {
      return (await asked).get(disk.ref) ?? disk.size;
    } catch (error) {
      // Whoever tries again has made room, perhaps.
      this.#needed.delete(key);
      throw error;
    }
  }

  async #ask(
    { disks, directory }: CopiedTogether,
    scope: DiskScope,
    signal: AbortSignal,
  ): Promise<ReadonlyMap<string, number>> {
    const turn = pLimit(ASKING_MAX);
    const copied = disks.filter(({ ref }) => !this.#readElsewhere.has(ref));
    // Blocks without data are zeros, which take no room: less is needed than the disk has.
    const needed = await Promise.all(
      copied.map((disk) =>
        turn(async () => {
          const { map } = await loadAllocation(disk, scope, signal);
          return [disk.ref, map?.allocated ?? disk.size] as const;
        }),
      ),
    );
    const sum = needed.reduce((bytes, [, one]) => bytes + one, 0);
    const room = await roomIn(directory);
    if (room >= sum) return new Map(needed);
    const what = needed.length === 1 ? "the disk needs" : `the ${needed.length} disks of the VM together need`;
    throw new VmmountError(
      `Cannot keep data in "${directory}": ${what} up to ${sum} bytes, and there is room for ${room}`,
      "space",
      { hint: "Make room there, or set cache.dir to a directory on a larger disk" },
    );
  }
}
