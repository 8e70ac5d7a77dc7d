import { RefusedError } from "../errors.js";
import type { Hypervisor, Snapshot, TaskOptions } from "../hypervisor.js";
import type { LocatorForm } from "../locator.js";
import type { Logger } from "../log.js";
import { consolidated } from "./consolidation.js";
import type { JournalRecord, SessionFacts, UsedSnapshot } from "./journal-record.js";
import { isOfSession } from "./ownership.js";
import { isStillThat, tellMoved } from "./used-snapshot.js";
import { snapshotsOf } from "./vm-snapshots.js";

/** What a journal says of a session whose process is gone. */
export type RecoveryPlan =
  | { readonly action: "nothing"; readonly facts: SessionFacts | undefined }
  /** Its own, found by its mark. */
  | { readonly action: "remove-snapshot"; readonly facts: SessionFacts }
  /** The one that it was told to use and then to delete. */
  | { readonly action: "remove-used"; readonly facts: SessionFacts; readonly used: UsedSnapshot };

/**
 * Pure: what is to be removed of this session? An intent without an outcome counts as done. What the policies leave at
 * umount is left here once the mount was served; a mount that never came to that leaves nothing of its own, and nothing
 * else touched.
 */
export function planRecovery(records: readonly JournalRecord[]): RecoveryPlan {
  let facts: SessionFacts | undefined;
  let mayExist = false;
  let wasServed = false;
  let used: UsedSnapshot | undefined;
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
      case "using":
        used = { snapshot: record.snapshot, name: record.name, createdAt: record.createdAt };
        break;
      case "create-failed":
      case "removed":
      case "kept":
        mayExist = false;
        used = undefined;
        break;
      case "serving":
        wasServed = true;
        break;
      case "hook-before":
      case "hook-after":
      case "unmounting":
      case "removing":
        break;
    }
  }
  if (facts === undefined) return { action: "nothing", facts };
  switch (facts.policy ?? "automatic") {
    case "automatic":
      return { action: mayExist ? "remove-snapshot" : "nothing", facts };
    case "createonly":
      return { action: mayExist && !wasServed ? "remove-snapshot" : "nothing", facts };
    case "deleteonly":
      return used !== undefined && wasServed ? { action: "remove-used", facts, used } : { action: "nothing", facts };
    case "manual":
      return { action: "nothing", facts };
  }
}

/** Whether the user's command before the snapshot was begun, and the one after it has not run since. */
export function owesHook(records: readonly JournalRecord[]): boolean {
  return records.findLast(({ event }) => event.startsWith("hook-"))?.event === "hook-before";
}

export interface RecoveryOptions extends TaskOptions {
  readonly logger: Logger;
  /** The snapshot's id, where the journal knows it. */
  readonly createdRef?: string | undefined;
  /** What to make of a snapshot, or a whole VM, of which nothing can be proved any more. */
  readonly unprovable: "keep" | "forget";
}

/** The id that the server gave to the session's snapshot. */
export function createdRef(records: readonly JournalRecord[]): string | undefined {
  return records.findLast((record) => record.event === "created")?.snapshot;
}

/**
 * Removes what the session may have left on the server. Running it twice is harmless: what is gone is success.
 * @returns how many snapshots were removed
 * @throws RefusedError when something may be left that cannot be proved to be ours, unless told to forget it
 */
export async function removeSessionSnapshots(
  session: string,
  facts: SessionFacts,
  hypervisor: Hypervisor,
  options: RecoveryOptions,
): Promise<number> {
  const orphans = await removeOrphans(session, facts, hypervisor, options);
  if (orphans > 0) return orphans;
  const vms = await findVmsOrStop(facts, hypervisor, options);
  let removed = 0;
  for (const vm of vms.keys()) {
    const before = removed;
    // The session may have died while its snapshot was being made.
    await hypervisor.settleSnapshots(vm, options);
    for (const snapshot of await snapshotsOf(vm, hypervisor, options.signal)) {
      if (!isOfSession(snapshot, session)) {
        if (snapshot.ref !== options.createdRef) continue;
        unsure(
          `Somebody renamed the session's snapshot to ${JSON.stringify(snapshot.name)} (${snapshot.ref})`,
          options,
        );
        continue;
      }
      await hypervisor.removeSnapshot(snapshot.ref, options);
      options.logger.info(`Removed snapshot "${snapshot.name}" of "${facts.vm.name}"`);
      removed++;
    }
    // The session may have died, or failed, between the two.
    const isItsDoing = removed > before || (vm === facts.vm.ref && options.createdRef !== undefined);
    if (isItsDoing && facts.neededConsolidation !== true) {
      await consolidated({ ref: vm, name: facts.vm.name }, hypervisor, options);
    }
  }
  if (removed === 0) checkIsThatVm(vms, facts, options);
  return removed;
}

/**
 * Removes the snapshot that a session was to use and delete, if it still is that one.
 * @returns how many snapshots were removed: 0 when it is gone
 * @throws RefusedError when another snapshot has its id now, or it has another id
 */
export async function removeUsedSnapshot(
  used: UsedSnapshot,
  facts: SessionFacts,
  hypervisor: Hypervisor,
  options: Omit<RecoveryOptions, "createdRef">,
): Promise<number> {
  const others: Snapshot[] = [];
  const vms = await findVmsOrStop(facts, hypervisor, options);
  for (const vm of vms.keys()) {
    const all = await snapshotsOf(vm, hypervisor, options.signal);
    const found = all.find(({ ref }) => ref === used.snapshot);
    if (found === undefined) {
      others.push(...all);
      continue;
    }
    if (!isStillThat(found, used)) {
      unsure(`Snapshot ${used.snapshot} of "${facts.vm.name}" is not "${used.name}" any more`, options);
      continue;
    }
    await hypervisor.removeSnapshot(found.ref, options);
    options.logger.info(`Removed snapshot "${found.name}" of "${facts.vm.name}"`);
    if (facts.neededConsolidation !== true) {
      await consolidated({ ref: vm, name: facts.vm.name }, hypervisor, options);
    }
    return 1;
  }
  const moved = tellMoved(others, used);
  if (moved !== undefined) unsure(moved, options);
  else checkIsThatVm(vms, facts, options);
  return 0;
}

/** Some servers keep the snapshots of a VM that is deleted. @returns how many it removed */
async function removeOrphans(
  session: string,
  facts: SessionFacts,
  hypervisor: Hypervisor,
  options: RecoveryOptions,
): Promise<number> {
  if ((await findVms(facts, hypervisor, options.signal)).size > 0) return 0;
  const all = await hypervisor.listOrphans({ signal: options.signal });
  const found = all.filter((snapshot) => isOfSession(snapshot, session));
  for (const { ref, name } of found) {
    await hypervisor.removeSnapshot(ref, options);
    options.logger.info(`Removed snapshot "${name}" of "${facts.vm.name}", which was deleted`);
  }
  return found.length;
}

/** Instance UUIDs by id. */
type FoundVms = ReadonlyMap<string, string | undefined>;

async function findVmsOrStop(
  facts: SessionFacts,
  hypervisor: Hypervisor,
  options: Omit<RecoveryOptions, "createdRef">,
): Promise<FoundVms> {
  const vms = await findVms(facts, hypervisor, options.signal);
  if (vms.size === 0) {
    unsure(
      `The VM "${facts.vm.name}" is gone from ${facts.server.url}, or hidden from "${facts.server.user}"`,
      options,
    );
  }
  return vms;
}

/** A VM may have got the id of another one, as in a vCenter that was set up anew: that it has no snapshot proves nothing. */
function checkIsThatVm(
  vms: FoundVms,
  { vm: { instanceUuid, name } }: SessionFacts,
  options: Omit<RecoveryOptions, "createdRef">,
): void {
  if (instanceUuid === undefined || [...vms.values()].includes(instanceUuid)) return;
  const refs = [...vms.keys()].join(", ");
  unsure(`${refs} has another instance UUID than "${name}" had, and may be another VM`, options);
}

function unsure(what: string, { unprovable, logger }: Pick<RecoveryOptions, "unprovable" | "logger">): void {
  if (unprovable === "keep") throw new RefusedError(`${what}: the session is kept; --force forgets it`);
  logger.warn(`${what}; forgetting the session`);
}

/**
 * Every VM that may be the one: a moref changes when a VM is registered again, an instance UUID when it is copied, and
 * on a host without vCenter copies may share one. Looking at too many is harmless, since a snapshot must carry the
 * session's mark to be removed; a name belongs to the VM's users and proves nothing.
 */
async function findVms(facts: SessionFacts, hypervisor: Hypervisor, signal: AbortSignal): Promise<FoundVms> {
  const { instanceUuid, ref } = facts.vm;
  const forms: LocatorForm[] = [{ kind: "moref", id: ref }];
  if (instanceUuid !== undefined) forms.push({ kind: "instanceuuid", uuid: instanceUuid });
  const found = new Map<string, string | undefined>();
  for (const form of forms) {
    for (const vm of await hypervisor.findVms(form, { signal })) found.set(vm.ref, vm.instanceUuid);
  }
  return found;
}
