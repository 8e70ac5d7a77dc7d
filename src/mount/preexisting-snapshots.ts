import { deadline } from "../deadline.js";
import { errorChain, LeftoverError, RefusedError, UnreachableError } from "../errors.js";
import type { Hypervisor, Snapshot, VmIdentity } from "../hypervisor.js";
import { printable } from "../printable.js";
import { retry } from "../retry.js";
import { askAgain, serverRetries } from "../server-retry.js";
import { serverRetryPolicy } from "../settings.js";
import { isElsewhere, thisHost } from "../snapshot/host.js";
import { judgePreexisting } from "../snapshot/preexisting.js";
import { planRecovery } from "../snapshot/recovery.js";
import { classifySnapshot, type Surroundings } from "../snapshot/snapshot-class.js";
import type { Connection } from "./connection.js";
import { findDaemon } from "./daemon-process.js";
import { askingOf, type MountContext } from "./mount-steps.js";
import { recoverSession } from "./recover-session.js";
import { listSessions, type SessionEntry } from "./session-list.js";
import type { StatePaths } from "./state-paths.js";

interface Earlier {
  readonly vm: VmIdentity;
  readonly hypervisor: Hypervisor;
  readonly connection: Connection;
  readonly paths: StatePaths;
}

/**
 * What earlier mounts of this VM have left, before a new snapshot is made: dead sessions of the journal first, which
 * know more than a mark can say, then the snapshots that the server shows. Whoever calls holds the VM's lock.
 * @throws RefusedError when the rules want none of it, LeftoverError when it cannot be removed
 */
export async function clearEarlier(earlier: Earlier, context: MountContext): Promise<void> {
  if (earlier.hypervisor.snapshots === "none") return;
  await recoverDeadSessions(earlier, context);
  await clearSnapshots(earlier, context);
}

async function recoverDeadSessions(earlier: Earlier, context: MountContext): Promise<void> {
  const { vm, hypervisor, connection, paths } = earlier;
  const { settings } = context.request;
  for (const entry of await listSessions(paths)) {
    // Of another machine: its snapshot is judged by its mark.
    if (entry.facts !== undefined && isElsewhere(entry.facts)) continue;
    if (entry.isLive || entry.damage !== undefined || !isOfVm(entry, earlier)) continue;
    const plan = planRecovery(entry.records);
    if (plan.action !== "nothing" && settings["preexisting.snapshot"] === "fail") {
      throw new RefusedError(
        `Cannot mount "${vm.name}": session ${entry.id} of "${plan.facts.mountPoint}" has died and may have left a snapshot`,
        { hint: `vmmount umount ${entry.id}` },
      );
    }
    const message = await recoverSession(entry, {
      settings,
      paths,
      logger: context.logger,
      force: false,
      signal: context.signal,
      server: { connect: () => Promise.resolve(connection), using: (_facts, _signal, work) => work(hypervisor) },
      onProgress: (what, percent) => {
        context.onProgress({ what, percent });
      },
    });
    context.logger.info(message);
  }
}

/** The same server by its address: a journal must never lead to a VM of another one that has the same id. */
function isOfVm({ facts }: SessionEntry, { vm, connection }: Earlier): boolean {
  if (facts?.server.url !== connection.url) return false;
  return facts.vm.ref === vm.ref || (vm.instanceUuid !== undefined && facts.vm.instanceUuid === vm.instanceUuid);
}

async function clearSnapshots({ vm, hypervisor, paths }: Earlier, context: MountContext): Promise<void> {
  const { request, logger, signal } = context;
  const { settings } = request;
  const rules = {
    policy: settings["snapshot.policy"],
    rule: settings["preexisting.snapshot"],
    anyOwner: settings["preexisting.any_owner"],
  };
  const list = (): Promise<Snapshot[]> => hypervisor.listSnapshots(vm.ref, { signal });
  const snapshots = await askAgain("Listing the snapshots", list, askingOf(context));
  const around = surroundings(await listSessions(paths));
  const doomed: Snapshot[] = [];
  for (const snapshot of snapshots) {
    const classified = classifySnapshot(snapshot, around);
    const verdict = judgePreexisting(snapshot, classified, rules);
    const named = `snapshot ${JSON.stringify(printable(snapshot.name))} (${snapshot.ref}) of "${vm.name}"`;
    if (verdict.act === "warn") logger.warn(`There is ${named}: ${verdict.reason}`);
    if (verdict.act === "refuse") throw refusal(named, verdict.reason, rules.rule);
    if (verdict.act !== "remove") continue;
    // A session whose journal is elsewhere still shows as a process.
    if (classified.mark !== undefined && (await isAtWork(classified.mark.session))) {
      throw refusal(named, "a mount of this host uses it", rules.rule);
    }
    doomed.push(snapshot);
  }
  for (const snapshot of doomed) await removeEarlier(snapshot, vm, hypervisor, context);
}

/** What lives on this host, as its journals know it. */
export function surroundings(sessions: readonly SessionEntry[]): Surroundings {
  const live = sessions.filter(({ isLive }) => isLive);
  return {
    here: thisHost(),
    liveSessions: new Set(live.map(({ id }) => id)),
    usedSnapshots: new Set(
      live.flatMap(({ records }) =>
        records.flatMap((record) => (record.event === "using" || record.event === "created" ? [record.snapshot] : [])),
      ),
    ),
    now: new Date(),
  };
}

/** By any of its users: a daemon of another one is looked for too. */
async function isAtWork(session: string): Promise<boolean> {
  return (await findDaemon(session, "any user")) !== undefined;
}

function refusal(named: string, reason: string, rule: string): RefusedError {
  return new RefusedError(`Cannot make a snapshot beside ${named}: ${reason}`, {
    hint:
      rule === "delete"
        ? "Remove it by hand, or set preexisting.any_owner"
        : "See vmmount snapshot list; use it with --policy manual or deleteonly, remove it by hand, or set preexisting.snapshot",
  });
}

async function removeEarlier(
  snapshot: Snapshot,
  { name }: VmIdentity,
  hypervisor: Hypervisor,
  { request, logger, signal, onProgress }: MountContext,
): Promise<void> {
  const policy = serverRetryPolicy(request.settings);
  const timeoutMs = request.settings["snapshot.remove_timeout"];
  const late = deadline(timeoutMs, () => new UnreachableError("Removing the snapshot took too long"));
  const bounded = AbortSignal.any([signal, late]);
  logger.info(`Removing snapshot "${snapshot.name}" (${snapshot.ref}) of "${name}", which an earlier backup left`);
  try {
    const retries = serverRetries("Removing the snapshot", { policy, logger, signal: bounded });
    await retry(() => hypervisor.removeSnapshot(snapshot.ref, { signal: bounded, onProgress }), retries);
  } catch (error) {
    if (signal.aborted) throw signal.reason as Error;
    throw new LeftoverError(
      `Cannot mount "${name}": snapshot "${snapshot.name}" (${snapshot.ref}) of an earlier backup cannot be removed: ${errorChain(error)}`,
      { cause: error, hint: "Remove it by hand, or try again later" },
    );
  }
}
