import { createConnection } from "node:net";
import { dirname } from "node:path";
import { CancelledError, IntegrityError, RemoteError, UnreachableError } from "../errors.js";
import {
  type ControlMessage,
  controlMessageSchema,
  type ControlRequest,
  MESSAGE_BYTES_MAX,
  SILENCE_MS_MAX,
  type SessionStatus,
} from "./control-protocol.js";
import { refuseForeignDirectory } from "./directory-owner.js";
import { readJsonLines } from "./json-lines.js";

/** A live daemon answers at once: its event loop never waits. */
const STATUS_TIMEOUT_MS = 10_000;

/**
 * The daemon's status.
 * @param owner whose the socket's directory must be: by default this user
 * @throws UnreachableError when nobody listens or answers
 */
export async function askStatus(path: string, owner?: number): Promise<SessionStatus> {
  for await (const message of converse({ path, owner }, { op: "status" }, STATUS_TIMEOUT_MS)) {
    if (message.type === "status") return message.status;
  }
  throw new UnreachableError(`Cannot ask the mount daemon at "${path}": it hung up without an answer`);
}

/**
 * Asks the daemon to unmount and waits for the end, however long the removal of the snapshot takes.
 * @returns the daemon's last word
 * @throws RemoteError with the daemon's own error; UnreachableError when it goes away or falls silent; CancelledError
 *   when `signal` ends the waiting, which the daemon does not notice
 */
export async function askUmount(
  path: string,
  options: {
    readonly force: boolean;
    readonly onProgress: (what: string, percent: number | undefined) => void;
    readonly signal?: AbortSignal | undefined;
    readonly silenceMsMax?: number;
    /** Whose the socket's directory must be: by default this user. */
    readonly owner?: number | undefined;
  },
): Promise<string> {
  const { force, onProgress, signal, silenceMsMax = SILENCE_MS_MAX, owner } = options;
  for await (const message of converse({ path, owner }, { op: "umount", force }, silenceMsMax, signal)) {
    if (message.type === "progress") onProgress(message.what, message.percent);
    if (message.type === "done") return message.message;
  }
  throw new UnreachableError(`Cannot follow the unmount: the mount daemon at "${path}" went away`, {
    hint: "Run the same command again: what is left is in the journal",
  });
}

/** Whether nobody can be behind a socket: unlike a daemon that is busy, or that hangs. */
export function nobodyListens(error: UnreachableError): boolean {
  return ["ENOENT", "ECONNREFUSED"].includes((error.cause as NodeJS.ErrnoException | undefined)?.code ?? "");
}

async function* converse(
  { path, owner }: { readonly path: string; readonly owner: number | undefined },
  request: ControlRequest,
  silenceMsMax: number,
  signal?: AbortSignal,
): AsyncGenerator<ControlMessage> {
  await refuseForeignDirectory(dirname(path), owner).catch((cause: unknown) => {
    throw new UnreachableError(`Cannot talk to the mount daemon at "${path}": ${(cause as Error).message}`, { cause });
  });
  const socket = createConnection(path);
  socket.setTimeout(silenceMsMax, () => socket.destroy(new Error(`No answer within ${silenceMsMax} ms`)));
  const onAbort = (): void => {
    socket.destroy(new Error("Stopped waiting"));
  };
  signal?.addEventListener("abort", onAbort, { once: true });
  try {
    signal?.throwIfAborted();
    socket.write(`${JSON.stringify(request)}\n`);
    for await (const line of readJsonLines(socket, MESSAGE_BYTES_MAX)) {
      const parsed = controlMessageSchema.safeParse(line);
      if (!parsed.success) throw new IntegrityError("Cannot understand the mount daemon: is it another version?");
      if (parsed.data.type === "failed") throw new RemoteError({ ...parsed.data.error, hint: parsed.data.error.hint });
      yield parsed.data;
    }
  } catch (error) {
    if (signal?.aborted === true) throw stoppedWaiting(signal.reason);
    if (error instanceof RemoteError || error instanceof IntegrityError) throw error;
    throw new UnreachableError(`Cannot talk to the mount daemon at "${path}": ${(error as Error).message}`, {
      cause: error,
    });
  } finally {
    signal?.removeEventListener("abort", onAbort);
    socket.destroy();
  }
}

function stoppedWaiting(reason: unknown): CancelledError {
  return new CancelledError("Stopped waiting for the unmount, which the mount daemon goes on with", {
    cause: reason,
    signal: reason instanceof CancelledError ? reason.signal : 0,
    hint: 'See "vmmount status"',
  });
}
