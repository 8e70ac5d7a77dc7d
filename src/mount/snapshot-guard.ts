import { RefusedError } from "../errors.js";
import type { Hypervisor, Snapshot, VmDescription } from "../hypervisor.js";
import { type Asking, askAgain } from "../server-retry.js";
import type { Settings } from "../settings.js";
import { readOwnership } from "../snapshot/ownership.js";
import { freeAfterSnapshot } from "../storage-room.js";

const DAY_MS = 24 * 3_600_000;

export interface GuardParts extends Asking {
  readonly hypervisor: Pick<Hypervisor, "snapshots" | "listSnapshots">;
}

/**
 * What a careful administrator looks at before a snapshot: room for it to grow, and the snapshots that are there already.
 * Dangers are warned of; what has cost others their VMs is refused.
 * @throws RefusedError
 */
export async function guardSnapshot(vm: VmDescription, parts: GuardParts): Promise<void> {
  if (parts.hypervisor.snapshots === "none" || !makesSnapshot(parts.settings)) return;
  guardRoom(vm, parts);
  const list = (): Promise<Snapshot[]> => parts.hypervisor.listSnapshots(vm.identity.ref, parts);
  guardChain(vm, await askAgain("Listing the snapshots", list, parts), parts);
}

/** Some policies use a snapshot that is there. */
export function makesSnapshot(settings: Settings): boolean {
  return ["automatic", "createonly"].includes(settings["snapshot.policy"]);
}

function guardRoom({ identity, storages = [] }: VmDescription, { settings, logger }: GuardParts): void {
  const least = settings["guard.free_space_min"];
  const careful = settings["guard.free_space_warn"];
  for (const storage of storages) {
    const left = freeAfterSnapshot(storage);
    if (left === undefined) continue;
    const told = `"${storage.name}" would have ${mebibytes(left)} MiB free`;
    if (least > 0 && left < least) {
      throw new RefusedError(
        `Cannot create a snapshot of "${identity.name}": ${told} with it, and the least is ${mebibytes(least)} MiB`,
        {
          hint: "Make room there: when it is full, every VM on it stops. guard.free_space_min sets the least, 0 for none",
        },
      );
    }
    if (left < careful) {
      logger.warn(`A snapshot of "${identity.name}" grows while it is mounted, and ${told}: a full one stops its VMs`);
    }
  }
}

function guardChain({ identity }: VmDescription, snapshots: readonly Snapshot[], parts: GuardParts): void {
  const { settings, logger } = parts;
  const depth = Math.max(0, ...snapshots.map((snapshot) => snapshot.depth));
  const most = settings["guard.chain_max"];
  if (most > 0 && depth >= most) {
    throw new RefusedError(
      `Cannot create a snapshot of "${identity.name}": ${depth} hang below each other already, and the limit is ${most}`,
      { hint: "Remove some in the client of the server first; guard.chain_max sets the limit, 0 for none" },
    );
  }
  const many = settings["guard.chain_warn"];
  if (many > 0 && depth > many) {
    logger.warn(
      `"${identity.name}" has ${depth} snapshots below each other: each slows it down, and ours comes on top`,
    );
  }
  const age = settings["guard.snapshot_age"];
  if (age === 0) return;
  const old = snapshots.filter((one) => readOwnership(one) === undefined && Date.now() - one.createdAt.getTime() > age);
  const [oldest] = old.sort((a, b) => a.createdAt.getTime() - b.createdAt.getTime());
  if (oldest === undefined) return;
  const days = Math.floor((Date.now() - oldest.createdAt.getTime()) / DAY_MS);
  logger.warn(
    `"${identity.name}" has had the snapshot "${oldest.name}" for ${days} days${old.length > 1 ? `, and ${old.length - 1} more old ones` : ""}: is it still needed?`,
  );
}

function mebibytes(count: number): number {
  return Math.floor(count / (1024 * 1024));
}
