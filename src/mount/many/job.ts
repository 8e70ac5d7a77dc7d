import { type ErrorFacts, errorFacts, VmmountError } from "../../errors.js";
import type { SessionStatus } from "../control-protocol.js";
import { unmountTarget, type UnmountOptions } from "../unmount.js";
import { runUserCommand } from "../user-command.js";

export interface JobOptions extends Omit<UnmountOptions, "force" | "signal"> {
  /** Aborted to end the command; the unmounting after it is not given up. */
  readonly signal: AbortSignal;
}

/**
 * Runs the user's command for one mounted VM and unmounts it, whatever became of the command: who still reads then is
 * no part of it.
 * @returns why the VM counts as failed, if it does
 */
export async function runJob(
  command: string,
  { vm, session, mountPoint, snapshot }: SessionStatus,
  { signal, ...options }: JobOptions,
): Promise<ErrorFacts | undefined> {
  const logger = options.logger.child({ vmName: vm.name });
  const failure = await runUserCommand({
    command,
    words: [mountPoint],
    env: {
      VMMOUNT_VM_NAME: vm.name,
      VMMOUNT_VM_PATH: vm.path,
      VMMOUNT_VM_UUID: vm.instanceUuid ?? "",
      VMMOUNT_SESSION: session,
      VMMOUNT_MOUNT_POINT: mountPoint,
      VMMOUNT_SNAPSHOT: snapshot.name ?? "",
      VMMOUNT_CONSISTENCY: snapshot.consistency,
    },
    // A backup takes as long as it takes.
    timeoutMs: undefined,
    signal,
    onLine: (line) => {
      logger.info(line);
    },
  });
  const failures: unknown[] =
    failure === undefined ? [] : [new VmmountError(`The command for "${vm.name}" ${failure}`, "job")];
  const unmount = (force: boolean): Promise<unknown> => unmountTarget(mountPoint, { ...options, force });
  try {
    await unmount(signal.aborted).catch(async (error: unknown) => {
      if (errorFacts(error).name !== "busy") throw error;
      logger.warn(`${errorFacts(error).message}: its command has ended, so it is unmounted all the same`);
      await unmount(true);
    });
  } catch (error) {
    // A snapshot that is left outweighs why the command failed.
    failures.unshift(error);
  }
  return failures.length === 0 ? undefined : errorFacts(failures[0]);
}
