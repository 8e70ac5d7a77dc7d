import { chmod, rm } from "node:fs/promises";
import { createServer, type Server, type Socket } from "node:net";
import { errorFacts, UsageError } from "../errors.js";
import type { Logger } from "../log.js";
import { unwritable } from "../unwritable.js";
import {
  ALIVE_INTERVAL_MS,
  type ControlMessage,
  type ControlRequest,
  controlRequestSchema,
  REQUEST_BYTES_MAX,
} from "./control-protocol.js";
import { readJsonLines } from "./json-lines.js";

/** A person and a few scripts; more is a runaway loop. */
const CLIENTS_MAX = 16;

/** A request is one line that the client has at hand: who connects and says nothing must not hold a place. */
const REQUEST_WAIT_MS = 10_000;

/** A client that does not read its answer must not keep the daemon alive: the snapshot is gone by then. */
const GOODBYE_WAIT_MS = 2_000;

export interface ControlLimits {
  readonly requestWaitMs: number;
  readonly goodbyeWaitMs: number;
}

const LIMITS: ControlLimits = { requestWaitMs: REQUEST_WAIT_MS, goodbyeWaitMs: GOODBYE_WAIT_MS };

export type ControlHandler = (request: ControlRequest, send: (message: ControlMessage) => void) => Promise<void>;

/** Listens on a unix socket, mode 0600 in a 0700 directory: only the user who mounted may talk to the daemon. */
export class ControlServer implements AsyncDisposable {
  readonly #server: Server;
  readonly #path: string;
  readonly #limits: ControlLimits;
  readonly #sockets = new Set<Socket>();

  private constructor(server: Server, path: string, limits: ControlLimits) {
    this.#server = server;
    this.#path = path;
    this.#limits = limits;
  }

  static async listen(
    path: string,
    handle: ControlHandler,
    logger: Logger,
    limits: ControlLimits = LIMITS,
  ): Promise<ControlServer> {
    await rm(path, { force: true });
    const server = createServer();
    const control = new ControlServer(server, path, limits);
    server.maxConnections = CLIENTS_MAX;
    server.on("connection", (socket) => {
      control.#sockets.add(socket);
      socket.on("error", (error) => {
        logger.debug(`A control client went away: ${error.message}`);
      });
      socket.on("close", () => control.#sockets.delete(socket));
      void serve(socket, handle, logger, limits).finally(() => {
        goodbye(socket, limits);
      });
    });
    await new Promise<void>((resolve, reject) => {
      server.once("error", (error) => {
        const told = unwritable({ doing: `listen at "${path}"`, setting: "runtime.dir" }, error);
        reject(told instanceof Error ? told : error);
      });
      server.listen(path, resolve);
    });
    // A connection that cannot be accepted (no descriptor left) costs that client, never the mount.
    server.on("error", (error) => {
      logger.warn(`Cannot accept a control client: ${error.message}`);
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
    for (const socket of this.#sockets) goodbye(socket, this.#limits);
    await closed;
    await rm(this.#path, { force: true });
  }
}

async function serve(
  socket: Socket,
  handle: ControlHandler,
  logger: Logger,
  { requestWaitMs }: ControlLimits,
): Promise<void> {
  const send = (message: ControlMessage): void => {
    // A client that left does not stop what it asked for.
    if (socket.writable) socket.write(`${JSON.stringify(message)}\n`);
  };
  const late = hangUpAfter(socket, requestWaitMs);
  let alive: NodeJS.Timeout | undefined;
  try {
    for await (const line of readJsonLines(socket, REQUEST_BYTES_MAX)) {
      // From here on the answer takes as long as it takes.
      clearTimeout(late);
      // A stopped daemon still accepts connections: only words tell that it lives.
      alive = setInterval(() => {
        send({ type: "alive" });
      }, ALIVE_INTERVAL_MS).unref();
      const request = controlRequestSchema.safeParse(line);
      if (!request.success) throw new UsageError("Cannot understand the control request");
      await handle(request.data, send);
      break;
    }
  } catch (error) {
    logger.debug(`A control request failed: ${(error as Error).message}`);
    send({ type: "failed", error: { ...errorFacts(error) } });
  } finally {
    clearTimeout(late);
    clearInterval(alive);
  }
}

/** Whatever is said meanwhile: the time-out of a socket would begin anew with every byte, of either side. */
function hangUpAfter(socket: Socket, waitMs: number): NodeJS.Timeout {
  const timer = setTimeout(() => socket.destroy(), waitMs);
  socket.once("close", () => {
    clearTimeout(timer);
  });
  return timer;
}

/** Hangs up after what was sent. Whatever else the client says is dropped, or its end would never be seen. */
function goodbye(socket: Socket, { goodbyeWaitMs }: ControlLimits): void {
  hangUpAfter(socket, goodbyeWaitMs);
  socket.resume();
  socket.end();
}
