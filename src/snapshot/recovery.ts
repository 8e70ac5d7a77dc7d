import { NotFoundError } from "../errors.js";
import type { Hypervisor, TaskOptions } from "../hypervisor.js";
import type { Logger } from "../log.js";
import type { JournalRecord, SessionFacts } from "./journal-record.js";
import { isOfSession } from "./ownership.js";

/** What a journal says of a session whose process is gone. */
export type RecoveryPlan =
  | { readonly action: "nothing"; readonly facts: SessionFacts | undefined }
  | { readonly action: "remove-snapshot"; readonly facts: SessionFacts };

/** Pure: may a snapshot of this session exist? An intent without an outcome counts as yes. */
export function planRecovery(records: readonly JournalRecord[]): RecoveryPlan {
  let facts: SessionFacts | undefined;
  let mayExist = false;
  for (const record of records) {
    switch (record.event) {
      case "planned":
        facts = record.facts;
        break;
      case "creating":
      case "created":
      case "leftover":
        mayExist = true;
        break;
      case "create-failed":
      case "removed":
        mayExist = false;
        break;
      case "serving":
      case "unmounting":
      case "removing":
        break;
    }
  }
  if (facts === undefined || !mayExist) return { action: "nothing", facts };
  return { action: "remove-snapshot", facts };
}

/**
 * Removes what the session may have left on the server. Running it twice is harmless: what is gone is success.
 * @returns how many snapshots were removed
 */
export async function removeSessionSnapshots(
  session: string,
  facts: SessionFacts,
  hypervisor: Hypervisor,
  options: TaskOptions & { readonly logger: Logger },
): Promise<number> {
  const vm = await findVm(facts, hypervisor, options.signal);
  if (vm === undefined) {
    options.logger.warn(`The VM "${facts.vm.name}" is gone from ${facts.server.url}, and its snapshot with it`);
    return 0;
  }
  const snapshots = await hypervisor.listSnapshots(vm, options);
  const ours = snapshots.filter((snapshot) => isOfSession(snapshot, session));
  for (const snapshot of ours) {
    await hypervisor.removeSnapshot(snapshot.ref, options);
    options.logger.info(`Removed snapshot "${snapshot.name}" of "${facts.vm.name}"`);
  }
  return ours.length;
}

/** By instance UUID: a moref changes when a VM is registered again, and a name belongs to its users. */
async function findVm(facts: SessionFacts, hypervisor: Hypervisor, signal: AbortSignal): Promise<string | undefined> {
  const { instanceUuid, ref } = facts.vm;
  const form =
    instanceUuid === undefined
      ? ({ kind: "moref", id: ref } as const)
      : ({ kind: "instanceuuid", uuid: instanceUuid } as const);
  try {
    return (await hypervisor.findVms(form, { signal }))[0]?.ref;
  } catch (error) {
    if (error instanceof NotFoundError) return undefined;
    throw error;
  }
}
