import { HypervisorFaultError } from "../errors.js";
import type { Hypervisor, TaskOptions, VmIdentity } from "../hypervisor.js";

/**
 * Sees to it that a removed snapshot leaves no delta files, which would grow with every write of the guest.
 * @throws HypervisorFaultError when the server merged and still asks for it, BusyError and whatever else keeps it from that
 */
export async function consolidated(
  { ref, name }: Pick<VmIdentity, "ref" | "name">,
  hypervisor: Pick<Hypervisor, "consolidate">,
  options: TaskOptions,
): Promise<void> {
  if ((await hypervisor.consolidate(ref, options)) !== "needed") return;
  throw new HypervisorFaultError(`The VM "${name}" still needs consolidation after it was done`, {
    fault: "consolidationNeeded",
    hint: "Consolidate its disks in the vSphere client; until then the delta files grow",
  });
}
