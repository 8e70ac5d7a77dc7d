import type { Command } from "commander";
import { errorFacts, UsageError, VmmountError } from "../errors.js";
import type { UnmountOptions, UnmountResult } from "../mount/unmount.js";
import { printable } from "../printable.js";
import { type CommonOptions, withCommonOptions } from "./common-options.js";
import type { ProcessEdge } from "./context.js";
import { answer } from "./output.js";

interface UmountFlags extends CommonOptions {
  readonly force?: boolean;
  readonly all?: boolean;
}

const EXAMPLES = `
Examples:
  vmmount umount /mnt/backup            remove the mount, wait until its snapshot is gone
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
    .argument("[target]", "mount point or session id")
    .option("-f, --force", "also while files are open; forget a dead session that cannot be proved to be clean")
    .option("--all", "every session of this host")
    .addHelpText("after", EXAMPLES);
  withCommonOptions(command, "a server").action(async (target: string | undefined, flags: UmountFlags) => {
    if ((target === undefined) === (flags.all !== true)) {
      throw new UsageError("Cannot unmount: give one mount point or session id, or --all");
    }
    const { createContext } = await import("./context.js");
    const { unmountTarget } = await import("../mount/unmount.js");
    const context = createContext(edge, flags);
    const options: UnmountOptions = {
      ...context,
      force: flags.force === true,
      signal: edge.signal,
      onProgress: context.onProgress,
    };
    try {
      const results =
        target === undefined ? await unmountAll(ofAnyServer(options)) : [await unmountTarget(target, options)];
      context.progress.stop();
      answer(context.terminal, target === undefined ? { unmounted: results } : (results[0] ?? {}), () =>
        results.length === 0 ? "Nothing is mounted" : results.map(({ message }) => printable(message)).join("\n"),
      );
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
async function unmountAll(options: UnmountOptions): Promise<UnmountResult[]> {
  const { listSessions } = await import("../mount/session-list.js");
  const { unmountSession } = await import("../mount/unmount.js");
  const results: UnmountResult[] = [];
  const failures: unknown[] = [];
  for (const entry of await listSessions(options.paths)) {
    try {
      results.push(await unmountSession(entry, options));
    } catch (error) {
      failures.push(error);
      options.logger.error(errorFacts(error).message);
    }
  }
  const [first, ...others] = failures;
  if (first === undefined) return results;
  if (others.length === 0 && results.length === 0) throw first as Error;
  throw new VmmountError(
    `Cannot unmount ${failures.length} of ${failures.length + results.length} sessions: ${failures.map((error) => errorFacts(error).message).join("; ")}`,
    "partial",
    { hint: "See vmmount status" },
  );
}
