import { createServer, type Server } from "node:https";
import type { IncomingMessage, ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { sendErrorPage } from "./error-page.js";
import { DataEndpoint } from "./data-endpoint.js";
import { serveNbd, type NbdServer } from "./nbd/serve.js";
import type { PoolHost } from "./pool-host.js";
import { RpcEndpoint } from "./rpc/endpoint.js";
import type { XenPool } from "./xen-pool.js";

/** XAPI's stunnel keeps idle connections for hours; this is longer than any test waits. */
const KEEP_ALIVE_MS = 300_000;

/** `/lab/…`: the controls of the lab itself. */
export type ControlHandler = (request: IncomingMessage, response: ServerResponse, path: string) => Promise<void>;

/** The servers of one host: HTTPS with calls and data handlers, and NBD. They can be stopped and started again. */
export class HostServer {
  readonly host: PoolHost;
  readonly #pool: XenPool;
  readonly #control: ControlHandler;
  #server: Server | undefined;
  #nbd: NbdServer | undefined;

  constructor(pool: XenPool, host: PoolHost, control: ControlHandler) {
    this.#pool = pool;
    this.host = host;
    this.#control = control;
  }

  /** @param port 0 takes a free one. @returns the port */
  async start(port: number): Promise<number> {
    const { tls, address } = this.host;
    const server = createServer({ key: tls.key, cert: tls.certificate }, this.#requestHandler());
    server.keepAliveTimeout = KEEP_ALIVE_MS;
    // Uploads take as long as they take.
    server.requestTimeout = 0;
    await new Promise<void>((resolve, reject) => {
      server.once("error", reject);
      server.listen(port, address, () => {
        server.off("error", reject);
        resolve();
      });
    });
    this.#server = server;
    this.#nbd = await serveNbd(this.#pool, this.host);
    this.host.nbdPort = this.#nbd?.port;
    this.#setRunning(true);
    return (server.address() as AddressInfo).port;
  }

  /** As a host that loses power. */
  async stop(): Promise<void> {
    this.#setRunning(false);
    this.#server?.close();
    this.#server?.closeAllConnections();
    this.#server = undefined;
    await this.#nbd?.close();
    this.#nbd = undefined;
    this.host.nbdPort = undefined;
  }

  #setRunning(isRunning: boolean): void {
    const { database } = this.#pool;
    this.host.isRunning = isRunning;
    database.update("host_metrics", database.text("host", this.host.ref, "metrics"), { live: isRunning });
  }

  #requestHandler() {
    const rpc = new RpcEndpoint(this.#pool, this.host);
    const data = new DataEndpoint(this.#pool, this.host);
    const route = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
      const path = (request.url ?? "/").replace(/\?.*/s, "");
      if (path.startsWith("/lab/")) return this.#control(request, response, path);
      const { traffic } = this.#pool;
      traffic.begin();
      let status = 0;
      response.once("close", () => {
        traffic.end(status === 0 && response.headersSent ? response.statusCode : status);
      });
      if (await data.handle(request, response, path, (sent) => (status = sent))) return;
      if (request.method === "POST") return rpc.handle(request, response, path);
      const isKnown = ["GET", "PUT", "OPTIONS"].includes(request.method ?? "");
      sendErrorPage(response, isKnown ? 404 : 501, isKnown ? "Not found" : "Method not implemented");
    };
    return (request: IncomingMessage, response: ServerResponse): void => {
      route(request, response).catch((error: unknown) => {
        // A client that leaves while it sends is its own affair.
        if (!response.destroyed)
          this.#pool.logger.error("The lab failed to answer a request", { error: String(error) });
        response.destroy();
      });
    };
  }
}
