import type { Consolidation, TaskOptions } from "../hypervisor.js";
import type { Logger } from "../log.js";
import { child, isTrue, toMoRef } from "./element.js";
import { SoapFault } from "./faults.js";
import type { PropertyCollector } from "./property-collector.js";
import { consolidateVmDisksTask } from "./requests.js";
import type { Session } from "./session.js";
import type { MoRef } from "./soap-message.js";
import type { TaskWaiter } from "./task.js";

export interface ConsolidationParts {
  readonly session: Session;
  readonly properties: PropertyCollector;
  readonly tasks: TaskWaiter;
  readonly logger: Logger;
}

/**
 * A removal can succeed and still leave delta files, which `runtime.consolidationNeeded` says: merges them, once.
 * @throws SoapFault with the fault of the call or of its task
 */
export async function consolidate(vm: MoRef, parts: ConsolidationParts, options: TaskOptions): Promise<Consolidation> {
  const { session, tasks, logger } = parts;
  if (!(await isNeeded(vm, parts, options.signal))) return "unneeded";
  logger.info("The VM's disks need consolidation, starting it", { vm: vm.id });
  try {
    const response = await session.call(consolidateVmDisksTask(vm), { signal: options.signal });
    const task = toMoRef(child(response, "returnval"));
    // Half a merge is worse than a long one: it goes on when we stop waiting.
    await tasks.result(task, { ...options, what: "Consolidating disks", onAbort: "leave" });
  } catch (error) {
    // Servers drop ended tasks after a while, and VMs can go: the VM itself says how it went.
    if (!isGone(error)) throw error;
  }
  return (await isNeeded(vm, parts, options.signal)) ? "needed" : "merged";
}

/** A VM that is gone needs nothing. */
async function isNeeded(vm: MoRef, { properties }: ConsolidationParts, signal: AbortSignal): Promise<boolean> {
  try {
    const { values } = await properties.ofObject(vm, ["runtime.consolidationNeeded"], signal);
    return isTrue(values.get("runtime.consolidationNeeded"));
  } catch (error) {
    if (isGone(error)) return false;
    throw error;
  }
}

function isGone(error: unknown): boolean {
  return error instanceof SoapFault && error.is("ManagedObjectNotFound");
}
