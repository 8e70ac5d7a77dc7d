import { VmmountError } from "./errors.js";

/**
 * What to tell when stdout takes no answer, such as a file on a full disk: exit 80 without room, 74 otherwise. Errors that do
 * not come from the system are given back as they are.
 */
export function unwrittenAnswer(cause: unknown): unknown {
  const code = cause instanceof Error ? (cause as NodeJS.ErrnoException).code : undefined;
  if (cause instanceof VmmountError || code === undefined) return cause;
  const isFull = code === "ENOSPC" || code === "EDQUOT";
  const reason = isFull ? "there is no room left on its disk" : (cause as Error).message;
  return new VmmountError(`Cannot write the answer to stdout: ${reason}`, isFull ? "space" : "io", {
    cause,
    hint: "A mount is taken back; anything else that was asked for is done",
  });
}
