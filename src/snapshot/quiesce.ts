import type { VmDescription } from "../hypervisor.js";
import type { Settings } from "../settings.js";

export type QuiescePolicy = Settings["snapshot.quiesce"];
/** What happens to a running guest while its disks are frozen. */
export type SnapshotKind = Settings["snapshot.kind"];

/**
 * What a restored guest will find: flushed file systems, the state of a power cut, a clean shutdown, or, where no
 * snapshot froze the disks of a running VM, bytes of many moments.
 */
export type Consistency = "quiesced" | "crash" | "offline" | "inconsistent";

/** How to ask for the snapshot, decided before any call. */
export type QuiescePlan =
  | { readonly ask: "quiesced"; readonly onFailure: "fail" | "crash" }
  | { readonly ask: "plain"; readonly consistency: Consistency; readonly warning: string | undefined }
  | { readonly ask: "refuse"; readonly reason: string };

export function planQuiesce(policy: QuiescePolicy, vm: VmDescription, kind: SnapshotKind = "disks"): QuiescePlan {
  if (vm.identity.powerState === "off" || (kind === "offline" && vm.identity.powerState === "on"))
    return { ask: "plain", consistency: "offline", warning: undefined };
  if (policy === "off") return { ask: "plain", consistency: "crash", warning: undefined };
  const obstacle = kind === "memory" ? "a snapshot with memory stops it instead" : quiesceObstacle(vm);
  if (obstacle === undefined) return { ask: "quiesced", onFailure: policy === "require" ? "fail" : "crash" };
  if (policy === "require") return { ask: "refuse", reason: obstacle };
  // Whoever asks for the memory knows.
  return { ask: "plain", consistency: "crash", warning: kind === "memory" ? undefined : obstacle };
}

function quiesceObstacle(vm: VmDescription): string | undefined {
  if (vm.identity.powerState === "suspended") return "it is suspended";
  if (vm.quiesceObstacle !== undefined) return vm.quiesceObstacle;
  return vm.toolsRunning ? undefined : "its guest tools (VMware Tools or open-vm-tools) are not running";
}
