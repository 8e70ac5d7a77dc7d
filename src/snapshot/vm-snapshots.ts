import { NotFoundError } from "../errors.js";
import type { Hypervisor, Snapshot } from "../hypervisor.js";

/** All snapshots of a VM; none when the VM is gone. */
export async function snapshotsOf(vm: string, hypervisor: Hypervisor, signal: AbortSignal): Promise<Snapshot[]> {
  try {
    return await hypervisor.listSnapshots(vm, { signal });
  } catch (error) {
    if (error instanceof NotFoundError) return [];
    throw error;
  }
}
