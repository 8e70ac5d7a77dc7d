import { NotFoundError } from "../errors.js";
import type { Hypervisor, Snapshot, VmIdentity } from "../hypervisor.js";

/** All snapshots of a VM; none when the VM is gone. */
export async function snapshotsOf(vm: string, hypervisor: Hypervisor, signal: AbortSignal): Promise<Snapshot[]> {
  try {
    return await hypervisor.listSnapshots(vm, { signal });
  } catch (error) {
    if (error instanceof NotFoundError) return [];
    throw error;
  }
}

/**
 * All snapshots of a VM, also when it has another id by now, as after its host was taken out of vCenter and added again,
 * and what is left of one that was deleted.
 */
export async function snapshotsWherever(
  { ref, instanceUuid }: Pick<VmIdentity, "ref" | "instanceUuid">,
  hypervisor: Hypervisor,
  signal: AbortSignal,
): Promise<Snapshot[]> {
  try {
    return await hypervisor.listSnapshots(ref, { signal });
  } catch (error) {
    if (!(error instanceof NotFoundError)) throw error;
  }
  const form = { kind: "instanceuuid", uuid: instanceUuid ?? "" } as const;
  const vms = instanceUuid === undefined ? [] : await hypervisor.findVms(form, { signal });
  const lists = await Promise.all(vms.map((vm) => snapshotsOf(vm.ref, hypervisor, signal)));
  return [...lists.flat(), ...(await hypervisor.listOrphans({ signal }))];
}
