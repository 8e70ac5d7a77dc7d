import { createConnection } from "node:net";
import { IntegrityError, RemoteError, UnreachableError } from "../errors.js";
import {
  type ControlMessage,
  controlMessageSchema,
  type ControlRequest,
  MESSAGE_BYTES_MAX,
  type SessionStatus,
} from "./control-protocol.js";
import { readJsonLines } from "./json-lines.js";

/** A live daemon answers at once: its event loop never waits. */
const STATUS_TIMEOUT_MS = 10_000;

/** The daemon's status. @throws UnreachableError when nobody listens or answers */
export async function askStatus(path: string): Promise<SessionStatus> {
  for await (const message of converse(path, { op: "status" }, STATUS_TIMEOUT_MS)) {
    if (message.type === "status") return message.status;
  }
  throw new UnreachableError(`Cannot ask the mount daemon at "${path}": it hung up without an answer`);
}

/**
 * Asks the daemon to unmount and waits for the end, however long the removal of the snapshot takes.
 * @returns the daemon's last word
 * @throws RemoteError with the daemon's own error, UnreachableError when it goes away without a word
 */
export async function askUmount(
  path: string,
  options: { readonly force: boolean; readonly onProgress: (what: string, percent: number | undefined) => void },
): Promise<string> {
  for await (const message of converse(path, { op: "umount", force: options.force }, undefined)) {
    if (message.type === "progress") options.onProgress(message.what, message.percent);
    if (message.type === "done") return message.message;
  }
  throw new UnreachableError(`Cannot follow the unmount: the mount daemon at "${path}" went away`, {
    hint: "Run the same command again: what is left is in the journal",
  });
}

async function* converse(
  path: string,
  request: ControlRequest,
  timeoutMs: number | undefined,
): AsyncGenerator<ControlMessage> {
  const socket = createConnection(path);
  if (timeoutMs !== undefined) {
    socket.setTimeout(timeoutMs, () => socket.destroy(new Error(`No answer within ${timeoutMs} ms`)));
  }
  try {
    socket.write(`${JSON.stringify(request)}\n`);
    for await (const line of readJsonLines(socket, MESSAGE_BYTES_MAX)) {
      const parsed = controlMessageSchema.safeParse(line);
      if (!parsed.success) throw new IntegrityError("Cannot understand the mount daemon: is it another version?");
      if (parsed.data.type === "failed") throw new RemoteError({ ...parsed.data.error, hint: parsed.data.error.hint });
      yield parsed.data;
    }
  } catch (error) {
    if (error instanceof RemoteError || error instanceof IntegrityError) throw error;
    throw new UnreachableError(`Cannot talk to the mount daemon at "${path}": ${(error as Error).message}`, {
      cause: error,
    });
  } finally {
    socket.destroy();
  }
}
