import { deadline } from "../deadline.js";
import { NotFoundError, UnreachableError } from "../errors.js";
import type { Hypervisor, VmIdentity } from "../hypervisor.js";
import { retry } from "../retry.js";
import { serverRetryPolicy } from "../settings.js";
import { consolidated } from "../snapshot/consolidation.js";
import type { Clocks } from "./age.js";
import { markedOrphans, type MarkedSnapshot, markedSnapshots } from "./marked-snapshots.js";
import { withLockedVm } from "../mount/vm-turn.js";
import type { GcSite } from "./site.js";

export interface Doomed {
  readonly vm: VmIdentity;
  /** Of its server, as mounts call it. */
  readonly url: string;
  /** The VM itself is gone. */
  readonly isOrphan: boolean;
  readonly marked: MarkedSnapshot;
}

/**
 * Removes a snapshot that was judged before, if it is judged the same once nothing can begin with the VM any more, and
 * sees to it that it leaves no delta files.
 * @returns why it is left after all; undefined when it is gone
 * @throws BusyError when a mount holds the VM, and what keeps the server from removing it
 */
export async function removeMarked(
  { vm, url, marked, isOrphan }: Doomed,
  hypervisor: Hypervisor,
  clocks: () => Clocks,
  site: GcSite,
): Promise<string | undefined> {
  const { config, logger } = site;
  const timeoutMs = config.settings["snapshot.remove_timeout"];
  const late = deadline(timeoutMs, () => new UnreachableError("Removing the snapshot took too long"));
  const signal = AbortSignal.any([site.signal, late]);
  const options = {
    signal,
    onProgress: ({ what, percent }: { what: string; percent: number | undefined }) => {
      site.onProgress(what, percent);
    },
  };
  const { ref, name } = marked.snapshot;
  const remove = async (): Promise<string | undefined> => {
    const found = isOrphan
      ? await markedOrphans(hypervisor, clocks, { ...site, signal })
      : await settledSnapshots(vm, hypervisor, clocks, { ...site, signal });
    const now = found.find(({ snapshot }) => snapshot.ref === ref);
    // Somebody else was faster.
    if (now === undefined) return undefined;
    if (now.verdict.act !== "remove") return now.verdict.reason;
    const neededBefore = isOrphan || (await needsConsolidation(vm, hypervisor, signal));
    await hypervisor.removeSnapshot(ref, options);
    logger.info(`Removed snapshot "${name}" of "${vm.name}"`);
    if (!neededBefore) await consolidated(vm, hypervisor, options);
    return undefined;
  };
  const onRetry = ({ message }: Error, attempt: number, waitMs: number): void => {
    logger.warn(`${message}; attempt ${attempt + 1} follows in ${(waitMs / 1000).toFixed(0)} s`);
  };
  const waiting = { signal, onProgress: site.onProgress, cleanerMs: timeoutMs };
  return await withLockedVm(vm, url, { paths: site.paths, waiting }, () =>
    retry(remove, { policy: serverRetryPolicy(config.settings), signal, onRetry }),
  );
}

async function settledSnapshots(
  vm: VmIdentity,
  hypervisor: Hypervisor,
  clocks: () => Clocks,
  site: GcSite,
): Promise<MarkedSnapshot[]> {
  // Its session may have died while it was being made.
  await hypervisor.settleSnapshots(vm.ref, { signal: site.signal });
  return await markedSnapshots(vm, hypervisor, clocks, site);
}

/** Whether delta files wait to be merged that this run has not left. */
export async function needsConsolidation(
  vm: Pick<VmIdentity, "ref">,
  hypervisor: Hypervisor,
  signal: AbortSignal,
): Promise<boolean> {
  try {
    return (await hypervisor.describeVm(vm.ref, { signal })).consolidationNeeded;
  } catch (error) {
    if (error instanceof NotFoundError) return false;
    throw error;
  }
}
