import { BusyError, errorChain } from "../errors.js";
import { planRecovery } from "../snapshot/recovery.js";
import { endMount, type RecoverOptions, recoverSession, refuseElsewhere } from "./recover-session.js";
import { listSessions, type SessionEntry } from "./session-list.js";
import { withLockedVm } from "./vm-turn.js";

/** A new mount of the VM recovers the session itself, as the first thing it does. */
const MOUNT_MS_MAX = 30_000;

/**
 * Cleans up after a dead session while nobody else works on its VM: of several who want to, one does it, and the others
 * find it done.
 * @returns one sentence for the user
 * @throws what recoverSession throws; BusyError when a mount has the VM: then at least the dead mount is gone
 */
export async function recoverInTurn(entry: SessionEntry, options: RecoverOptions): Promise<string> {
  const { facts, id } = entry;
  const { paths, settings, signal, onProgress, logger } = options;
  const recover = (): Promise<string> => recoverSession(entry, options);
  if (!options.force) refuseElsewhere(entry, paths);
  if (facts === undefined || entry.damage !== undefined || !touchesVm(entry)) return await recover();
  try {
    // A reboot takes the folder of the locks away.
    await paths.prepare();
  } catch (error) {
    logger.warn(`Cleaning up without a lock: ${errorChain(error)}`);
    return await recover();
  }
  const isOver = async (): Promise<boolean> => !(await listSessions(paths)).some((one) => one.id === id);
  const cleanerMs = settings["snapshot.remove_timeout"];
  const waiting = { signal, onProgress, cleanerMs, mountMs: MOUNT_MS_MAX, isOver };
  try {
    return await withLockedVm(facts.vm, facts.server.url, { paths, waiting }, recover);
  } catch (error) {
    if (!(error instanceof BusyError)) throw error;
    if (await isOver()) return `Session ${id} of "${facts.mountPoint}" is cleaned up already`;
    const said = await endMount(facts.mountPoint, id, options);
    // Its daemon was alive after all, and has ended the session.
    if (said !== undefined && (await isOver())) return said;
    throw new BusyError(`Session ${id} waits: ${error.message}`, { cause: error, retryable: true, hint: error.hint });
  }
}

/** Without a snapshot or attached disks there is nothing that a mount of the VM could miss. */
function touchesVm({ facts, records }: SessionEntry): boolean {
  return facts?.mayAttach === true || planRecovery(records).action !== "nothing";
}
