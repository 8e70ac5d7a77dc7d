import { errorChain, SnapshotError } from "../errors.js";
import type { Hypervisor, Progress, VmIdentity } from "../hypervisor.js";
import type { Logger } from "../log.js";
import type { Settings } from "../settings.js";
import type { Journal } from "../snapshot/journal.js";
import type { Frozen } from "./frozen.js";
import { makesSnapshot } from "./snapshot-guard.js";
import { runUserCommand } from "./user-command.js";

/** The mount that the commands belong to, and who is told of them. */
export interface HookedMount {
  readonly session: string;
  readonly mountPoint: string;
  readonly vm: Pick<VmIdentity, "name" | "path"> & Partial<Pick<VmIdentity, "instanceUuid" | "biosUuid">>;
  readonly settings: Settings;
  readonly journal: Journal;
  readonly logger: Logger;
  readonly onProgress: (progress: Progress) => void;
}

/**
 * Makes a snapshot between the user's two commands; where none is made, they do not run. `after` always runs once
 * `before` was begun, whatever became of it and of the snapshot: what `before` stopped has to go on. When this process dies
 * in between, the journal knows, and `runOwedHook` does it.
 * @throws SnapshotError when `before` fails: then nothing is made
 */
export async function betweenHooks(
  mount: HookedMount,
  makes: Hypervisor["snapshots"],
  signal: AbortSignal,
  create: () => Promise<Frozen>,
): Promise<Frozen> {
  const { settings, journal } = mount;
  if (makes === "none" || !makesSnapshot(settings)) return await create();
  const before = settings["hooks.before_snapshot"];
  const after = settings["hooks.after_snapshot"];
  signal.throwIfAborted();
  if (after !== "") await journal.append({ event: "hook-before" });
  let created: Frozen | undefined;
  try {
    if (before !== "") await runBefore(before, mount, signal);
    created = await create();
    return created;
  } finally {
    if (after !== "") await runAfter(after, mount, created);
  }
}

/**
 * Runs the command after the snapshot for a mount that died before it could. The command is the one of today's
 * configuration: a journal holds no commands, which may have passwords in them.
 */
export async function runOwedHook(mount: HookedMount): Promise<void> {
  const after = mount.settings["hooks.after_snapshot"];
  if (after !== "") {
    await runAfter(after, mount, undefined);
    return;
  }
  mount.logger.warn(
    `The command after the snapshot of "${mount.vm.name}" has not run, because the mount died before, and hooks.after_snapshot is not configured: what the command before it stopped has to be started by hand`,
  );
}

async function runBefore(command: string, mount: HookedMount, signal: AbortSignal): Promise<void> {
  const failure = await run("before-snapshot", command, {}, mount, signal);
  // Whoever stopped us is the reason, not the command that was killed for it.
  signal.throwIfAborted();
  if (failure === undefined) return;
  throw new SnapshotError(`Cannot mount "${mount.vm.name}": the command before the snapshot ${failure}`, {
    hint: "No snapshot was made. What the command said is in the log; hooks.before_snapshot names it",
  });
}

async function runAfter(command: string, mount: HookedMount, created: Frozen | undefined): Promise<void> {
  const { logger, journal, vm } = mount;
  const facts = {
    VMMOUNT_RESULT: created === undefined ? "failed" : "ok",
    VMMOUNT_SNAPSHOT: created?.snapshot.name ?? "",
    VMMOUNT_CONSISTENCY: created?.consistency ?? "",
  };
  // Ctrl-C does not keep what `before` stopped from going on; the time-out of hooks bounds it.
  const failure = await run("after-snapshot", command, facts, mount, new AbortController().signal);
  if (failure !== undefined) logger.warn(`The command after the snapshot of "${vm.name}" ${failure}`);
  await journal.append({ event: "hook-after" }).catch((error: unknown) => {
    // At worst it runs once more.
    logger.warn(`Cannot write the journal: ${errorChain(error)}`);
  });
}

function run(
  hook: string,
  command: string,
  facts: Readonly<Record<string, string>>,
  { session, mountPoint, vm, settings, logger, onProgress }: HookedMount,
  signal: AbortSignal,
): Promise<string | undefined> {
  onProgress({ what: `Running the ${hook} command for "${vm.name}"`, percent: undefined });
  logger.info(`Running the ${hook} command`);
  return runUserCommand({
    command,
    words: [],
    env: {
      VMMOUNT_HOOK: hook,
      VMMOUNT_VM_NAME: vm.name,
      VMMOUNT_VM_PATH: vm.path,
      VMMOUNT_VM_UUID: vm.instanceUuid ?? vm.biosUuid ?? "",
      VMMOUNT_SESSION: session,
      VMMOUNT_MOUNT_POINT: mountPoint,
      ...facts,
    },
    timeoutMs: settings["hooks.timeout"],
    signal,
    onLine: (line) => {
      logger.info(`${hook}: ${line}`);
    },
  });
}
