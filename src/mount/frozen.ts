import type { Moment, VmDescription } from "../hypervisor.js";
import type { Logger } from "../log.js";
import type { Consistency } from "../snapshot/quiesce.js";

/** What is mounted. */
export interface Frozen {
  readonly vm: VmDescription;
  readonly snapshot: Moment;
  readonly consistency: Consistency;
}

/**
 * The VM as it lies there, for a server that makes no snapshots. When it looks as if it runs, that is a warning and a
 * word in the catalog: only the administrator can know better.
 */
export function asItLiesThere(vm: VmDescription, logger: Logger): Frozen {
  const signs = vm.runningSigns ?? [];
  const moment = { ref: undefined, name: undefined, createdAt: new Date() };
  if (signs.length === 0) {
    // A suspended guest has not flushed its file systems.
    const consistency = vm.identity.powerState === "suspended" ? "crash" : "offline";
    return { vm, snapshot: moment, consistency };
  }
  logger.warn(
    `"${vm.identity.name}" looks as if it is RUNNING: ${signs.join("; ")}. No snapshot freezes its disks, so what is ` +
      "read is a mix of many moments, and may not start or hold damaged files. Shut the VM down and mount it again",
  );
  return { vm, snapshot: moment, consistency: "inconsistent" };
}
