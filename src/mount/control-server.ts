import { chmod, rm } from "node:fs/promises";
import { createServer, type Server, type Socket } from "node:net";
import { errorFacts, UsageError } from "../errors.js";
import type { Logger } from "../log.js";
import {
  type ControlMessage,
  type ControlRequest,
  controlRequestSchema,
  REQUEST_BYTES_MAX,
} from "./control-protocol.js";
import { readJsonLines } from "./json-lines.js";

/** A person and a few scripts; more is a runaway loop. */
const CLIENTS_MAX = 16;

export type ControlHandler = (request: ControlRequest, send: (message: ControlMessage) => void) => Promise<void>;

/** Listens on a unix socket, mode 0600 in a 0700 directory: only the user who mounted may talk to the daemon. */
export class ControlServer implements AsyncDisposable {
  readonly #server: Server;
  readonly #path: string;
  readonly #sockets = new Set<Socket>();

  private constructor(server: Server, path: string) {
    this.#server = server;
    this.#path = path;
  }

  static async listen(path: string, handle: ControlHandler, logger: Logger): Promise<ControlServer> {
    await rm(path, { force: true });
    const server = createServer();
    const control = new ControlServer(server, path);
    server.maxConnections = CLIENTS_MAX;
    server.on("connection", (socket) => {
      control.#sockets.add(socket);
      socket.on("error", (error) => {
        logger.debug(`A control client went away: ${error.message}`);
      });
      socket.on("close", () => control.#sockets.delete(socket));
      void serve(socket, handle, logger);
    });
    await new Promise<void>((resolve, reject) => {
      server.once("error", reject);
      server.listen(path, resolve);
    });
    await chmod(path, 0o600);
    return control;
  }

  /** Ends every client after what was sent to it, and removes the socket. */
  async [Symbol.asyncDispose](): Promise<void> {
    const closed = new Promise<void>((resolve) =>
      this.#server.close(() => {
        resolve();
      }),
    );
    for (const socket of this.#sockets) socket.end(() => socket.destroy());
    await closed;
    await rm(this.#path, { force: true });
  }
}

async function serve(socket: Socket, handle: ControlHandler, logger: Logger): Promise<void> {
  const send = (message: ControlMessage): void => {
    // A client that left does not stop what it asked for.
    if (socket.writable) socket.write(`${JSON.stringify(message)}\n`);
  };
  try {
    for await (const line of readJsonLines(socket, REQUEST_BYTES_MAX)) {
      const request = controlRequestSchema.safeParse(line);
      if (!request.success) throw new UsageError("Cannot understand the control request");
      await handle(request.data, send);
      break;
    }
  } catch (error) {
    logger.debug(`A control request failed: ${(error as Error).message}`);
    send({ type: "failed", error: { ...errorFacts(error) } });
  }
  socket.end();
}
