import type { Command } from "commander";
import { UsageError } from "../errors.js";
import type { Doomed } from "../mount/many/unmount-many.js";
import type { UnmountOptions } from "../mount/unmount.js";
import { printable } from "../printable.js";
import { type CommonOptions, withCommonOptions } from "./common-options.js";
import type { CommandContext, ProcessEdge } from "./context.js";
import { answer, table } from "./output.js";

interface UmountFlags extends CommonOptions {
  readonly force?: boolean;
  readonly all?: boolean;
}

const EXAMPLES = `
Examples:
  vmmount umount /mnt/backup            remove the mount, wait until its snapshot is gone; of several VMs: all of them
  vmmount umount /mnt/backup --force    even while files are open: their readers get errors
  vmmount umount k3v9q2m7xa             by session id, as "vmmount status" shows it
  vmmount umount --all                  every mount of this host

Doing it twice is harmless. A mount whose background process was killed is cleaned up too.`;

export function addUmount(program: Command, edge: ProcessEdge): void {
  const command = program
    .command("umount")
    .alias("unmount")
    .summary("remove a mount and its snapshot")
    .description("Removes a mount and its snapshot, and waits until both are gone.")
    .argument("[target]", "mount point, directory of several mounts, session id, or a VM that is mounted once")
    .option(
      "-f, --force",
      "also while files are open; clean up after another machine; forget a dead session that cannot be proved to be clean",
    )
    .option("--all", "every session of this host")
    .addHelpText("after", EXAMPLES);
  withCommonOptions(command, "a server").action(async (target: string | undefined, flags: UmountFlags) => {
    if ((target === undefined) === (flags.all !== true)) {
      throw new UsageError("Cannot unmount: give one mount point or session id, or --all");
    }
    const { createContext } = await import("./context.js");
    const { unmountTarget } = await import("../mount/unmount.js");
    const { everyMount, mountsBelow } = await import("../mount/many/unmount-many.js");
    const context = createContext(edge, flags);
    const options: UnmountOptions = {
      ...context,
      force: flags.force === true,
      signal: edge.signal,
      onProgress: context.onProgress,
    };
    try {
      const several = target === undefined ? await everyMount(context.paths) : await mountsBelow(target, context.paths);
      if (target === undefined || several.length > 0) {
        await unmountAll(several, ofAnyServer(options), context);
        return;
      }
      const result = await unmountTarget(target, options);
      context.progress.stop();
      answer(context.terminal, result, () => printable(result.message));
    } finally {
      context.progress.stop();
    }
  });
}

/** A server that was named is that of one session. */
function ofAnyServer(options: UnmountOptions): UnmountOptions {
  return { ...options, choice: { ...options.choice, server: undefined } };
}

/** One failure does not keep the other snapshots alive. */
async function unmountAll(
  several: readonly Doomed[],
  options: UnmountOptions,
  { terminal, progress }: CommandContext,
): Promise<void> {
  const { throwIfAnyStays, unmountEvery } = await import("../mount/many/unmount-many.js");
  const outcomes = await unmountEvery(several, options);
  progress.stop();
  const failed = outcomes.filter(({ state }) => state === "failed");
  const unmounted = outcomes.filter(({ state }) => state === "unmounted");
  if (outcomes.length > 1 || failed.length === 0) {
    answer(terminal, { unmounted, failed }, () => {
      if (outcomes.length === 0) return "Nothing is mounted";
      if (failed.length === 0) return unmounted.map(({ message }) => printable(message)).join("\n");
      const rows = outcomes.map(({ vm, mountPoint, state, message }) => [
        vm?.path ?? "?",
        mountPoint,
        state,
        state === "failed" ? message : "",
      ]);
      return table(["VM", "DIRECTORY", "STATE", "REASON"], rows);
    });
  }
  throwIfAnyStays(outcomes);
}
