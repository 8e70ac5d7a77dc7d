import { errorChain } from "../errors.js";
import type { CommandContext } from "./context.js";

/**
 * Tells what was mounted. When nobody can be told, as on a full disk, the command fails, and whoever called it will not
 * unmount: then nothing stays mounted.
 * @throws why it could not be told, or why something stays
 */
export async function answerOrUnmount(
  sessions: readonly string[],
  context: CommandContext,
  tell: () => void,
): Promise<void> {
  try {
    tell();
  } catch (error) {
    const { unmountTarget } = await import("../mount/unmount.js");
    // Stopped or not: a signal does not keep it mounted.
    const options = { ...context, force: true, signal: undefined };
    const undone = sessions.map((session) => unmountTarget(session, options));
    const failures = (await Promise.allSettled(undone)).flatMap((one) =>
      one.status === "rejected" ? [one.reason as Error] : [],
    );
    for (const failure of failures) context.logger.error(errorChain(failure));
    throw failures[0] ?? error;
  }
}
