import { chmod } from "node:fs/promises";
import { createServer, type Server, type Socket } from "node:net";
import { UnreachableError } from "../../errors.js";
import type { Logger } from "../../log.js";
import { ClientSession } from "./client-session.js";
import type { ServedDisk } from "./served-disk.js";

/** Each disk of a VM opens up to CONNECTIONS_MAX of them; beyond, a client waits in the socket's backlog. */
const CLIENTS_MAX = 1024;

/** Serves disks on a unix socket that only this user may open. */
export class NbdServer implements AsyncDisposable {
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();
  readonly #disks: ServedDisk[] = [];

  private constructor(logger: Logger, shared: Uint8Array | undefined) {
    this.#server = createServer((socket) => {
      this.#sockets.add(socket);
      void new ClientSession(socket, logger, shared).serve(this.#disks).then(() => this.#sockets.delete(socket));
    });
    this.#server.maxConnections = CLIENTS_MAX;
  }

  /**
   * @param path of the socket, in a directory that only this user may enter
   * @param shared memory that the clients have as well, for READ_SHARED
   * @throws UnreachableError
   */
  static async listen(path: string, logger: Logger, shared?: Uint8Array): Promise<NbdServer> {
    const server = new NbdServer(logger, shared);
    await new Promise<void>((resolve, reject) => {
      server.#server.once("error", (cause) => {
        reject(new UnreachableError(`Cannot listen on "${path}": ${cause.message}`, { cause, retryable: false }));
      });
      server.#server.listen(path, resolve);
    });
    await chmod(path, 0o600);
    return server;
  }

  /** Clients that connect from now on find it, and no other one of its name. */
  add(disk: ServedDisk): void {
    const before = this.#disks.findIndex(({ name }) => name === disk.name);
    if (before >= 0) this.#disks.splice(before, 1);
    this.#disks.push(disk);
  }

  /** Ends every connection. */
  async [Symbol.asyncDispose](): Promise<void> {
    const closed = new Promise((resolve) => this.#server.close(resolve));
    for (const socket of this.#sockets) socket.destroy();
    await closed;
  }
}
