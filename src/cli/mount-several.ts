import { parseLocator } from "../locator.js";
import { answerOrUnmount } from "./answer-or-unmount.js";
import type { CommandContext } from "./context.js";
import { answer, table } from "./output.js";

/** How the words of a command line that may mean several VMs begin or look; the configuration has the last word. */
export function mayMeanSeveral(text: string): boolean {
  return /[*?]|(^|:)(any|glob|powerstate):/i.test(text);
}

export interface Several {
  readonly vms: readonly string[];
  readonly directory: string;
  /** `--each` */
  readonly job: string | undefined;
  readonly program: string;
  readonly signal: AbortSignal;
}

/** @returns whether the words mean any number of VMs: then each gets a folder, even when they match one */
export async function meansSeveral(vms: readonly string[], { config }: CommandContext): Promise<boolean> {
  if (vms.length > 1) return true;
  const { namesSeveral } = await import("../mount/many/several-vms.js");
  return vms.some((text) =>
    namesSeveral(parseLocator(text, new Set(config.servers.keys()), config.settings.lookup).form),
  );
}

/** Mounts them all, says what became of each, and fails when any did. */
export async function mountSeveral(several: Several, context: CommandContext): Promise<void> {
  const { mountMany } = await import("../mount/many/mount-many.js");
  const { throwIfAnyFailed } = await import("../mount/many/outcome.js");
  const outcomes = await mountMany(several.vms, several.directory, {
    ...context,
    program: several.program,
    signal: several.signal,
    job: several.job,
    makesFolders: await meansSeveral(several.vms, context),
    onProgress: context.progress.report,
    onLog: (line, vm) => {
      context.onLog(`${JSON.stringify({ ...(JSON.parse(line) as object), vmName: vm })}\n`);
    },
  });
  context.progress.stop();
  const rows = outcomes.map(({ vm, directory, state, error }) => [vm.path, directory, state, error?.message ?? ""]);
  const mounted = outcomes.flatMap(({ state, session }) => (state === "mounted" && session ? [session] : []));
  await answerOrUnmount(mounted, context, () => {
    answer(context.terminal, { vms: outcomes }, () => table(["VM", "DIRECTORY", "STATE", "REASON"], rows));
  });
  throwIfAnyFailed(
    several.job === undefined ? "mount" : "back up",
    outcomes.length,
    outcomes.flatMap(({ error }) => error ?? []),
  );
}
