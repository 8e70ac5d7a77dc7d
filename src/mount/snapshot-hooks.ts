import { SnapshotError } from "../errors.js";
import type { Hypervisor, VmDescription } from "../hypervisor.js";
import type { Frozen } from "./frozen.js";
import type { MountContext } from "./mount-steps.js";
import { makesSnapshot } from "./snapshot-guard.js";
import { runUserCommand } from "./user-command.js";

/**
 * Makes a snapshot between the user's two commands; where none is made, they do not run. `after` always runs once `before` was begun, whatever became of it and
 * of the snapshot: what `before` stopped has to go on.
 * @throws SnapshotError when `before` fails: then nothing is made
 */
export async function betweenHooks(
  context: MountContext,
  vm: VmDescription,
  makes: Hypervisor["snapshots"],
  create: () => Promise<Frozen>,
): Promise<Frozen> {
  const { settings } = context.request;
  if (makes === "none" || !makesSnapshot(settings)) return await create();
  const before = settings["hooks.before_snapshot"];
  const after = settings["hooks.after_snapshot"];
  context.signal.throwIfAborted();
  let created: Frozen | undefined;
  try {
    if (before !== "") await runBefore(before, vm, context);
    created = await create();
    return created;
  } finally {
    if (after !== "") await runAfter(after, vm, created, context);
  }
}

async function runBefore(command: string, vm: VmDescription, context: MountContext): Promise<void> {
  const failure = await run("before-snapshot", command, vm, {}, context, context.signal);
  // Whoever stopped us is the reason, not the command that was killed for it.
  context.signal.throwIfAborted();
  if (failure === undefined) return;
  throw new SnapshotError(`Cannot mount "${vm.identity.name}": the command before the snapshot ${failure}`, {
    hint: "No snapshot was made. What the command said is in the log; hooks.before_snapshot names it",
  });
}

async function runAfter(
  command: string,
  vm: VmDescription,
  created: Frozen | undefined,
  context: MountContext,
): Promise<void> {
  const facts = {
    VMMOUNT_RESULT: created === undefined ? "failed" : "ok",
    VMMOUNT_SNAPSHOT: created?.snapshot.name ?? "",
    VMMOUNT_CONSISTENCY: created?.consistency ?? "",
  };
  // Ctrl-C does not keep what `before` stopped from going on; the time-out of hooks bounds it.
  const failure = await run("after-snapshot", command, vm, facts, context, new AbortController().signal);
  if (failure !== undefined) {
    context.logger.warn(`The command after the snapshot of "${vm.identity.name}" ${failure}`);
  }
}

function run(
  hook: string,
  command: string,
  { identity }: VmDescription,
  facts: Readonly<Record<string, string>>,
  { request, logger, onProgress }: MountContext,
  signal: AbortSignal,
): Promise<string | undefined> {
  onProgress({ what: `Running the ${hook} command for "${identity.name}"`, percent: undefined });
  logger.info(`Running the ${hook} command`);
  return runUserCommand({
    command,
    words: [],
    env: {
      VMMOUNT_HOOK: hook,
      VMMOUNT_VM_NAME: identity.name,
      VMMOUNT_VM_PATH: identity.path,
      VMMOUNT_VM_UUID: identity.instanceUuid ?? identity.biosUuid ?? "",
      VMMOUNT_SESSION: request.session,
      VMMOUNT_MOUNT_POINT: request.mountPoint,
      ...facts,
    },
    timeoutMs: request.settings["hooks.timeout"],
    signal,
    onLine: (line) => {
      logger.info(`${hook}: ${line}`);
    },
  });
}
