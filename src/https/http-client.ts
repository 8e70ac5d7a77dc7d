import { createRequire } from "node:module";
import type { Dispatcher, Pool as UndiciPool } from "undici";
import { DataConnections } from "./data-connections.js";
import { HttpExchange, type HttpAnswer } from "./http-exchange.js";
import { translateNetworkError } from "./network-error.js";
import { trustingConnector, type TlsTrust } from "./tls.js";

export interface HttpLimits {
  /** TCP and TLS together. */
  readonly connectMs: number;
  readonly controlConnectionsMax: number;
  readonly waitConnectionsMax: number;
  readonly dataConnectionsMax: number;
}

/** Calls that may be held for minutes must not starve short ones, nor data reads. */
export type Lane = "control" | "wait" | "data";

export interface HttpRequest {
  readonly lane: Lane;
  readonly method: "GET" | "HEAD" | "POST";
  /** Path and query. */
  readonly path: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body?: string;
  readonly signal: AbortSignal;
  /** Bound of the whole exchange. */
  readonly deadlineMs?: number;
  /** Bound between two signs of life of the server. */
  readonly stallMs: number;
  /** More is an IntegrityError, before it is kept in memory. */
  readonly bodyBytesMax: number;
  /** Chooses where the body goes once status and headers are known: undefined = into the answer, an Error = nowhere. */
  readonly target?: (status: number, header: HeaderReader) => Uint8Array | Error | undefined;
}

export type HeaderReader = (name: string) => string | undefined;

/**
 * The pool alone: the package as a whole loads fetch, web sockets and caches as well, and through them those of Node, which
 * takes longer than all of ours.
 */
const Pool = createRequire(import.meta.url)("undici/lib/dispatcher/pool.js") as typeof UndiciPool;

/** HTTPS to one server over a few kept connections. The only place that knows undici. Ranges of disks have connections of their own. */
export class HttpClient implements AsyncDisposable {
  readonly #pools: Readonly<Record<Lane, UndiciPool>>;
  readonly #data: DataConnections;
  readonly #origin: string;

  /** @throws ConfigError for a bad fingerprint */
  constructor(server: { readonly origin: string }, trust: TlsTrust, limits: HttpLimits) {
    const connect = trustingConnector(trust, limits.connectMs);
    const pool = (connections: number): UndiciPool => new Pool(server.origin, { connect, connections, pipelining: 1 });
    this.#origin = server.origin;
    this.#data = new DataConnections(server.origin, connect, limits.dataConnectionsMax);
    this.#pools = {
      control: pool(limits.controlConnectionsMax),
      wait: pool(limits.waitConnectionsMax),
      data: pool(limits.dataConnectionsMax),
    };
  }

  /**
   * @throws UnreachableError when the server does not answer, IntegrityError when it answers too much, the signal's reason
   */
  async request(request: HttpRequest): Promise<HttpAnswer> {
    request.signal.throwIfAborted();
    try {
      return await this.#exchange(request);
    } catch (error) {
      // Who gave up knows the reason best.
      if (request.signal.aborted && error === request.signal.reason) throw error;
      throw translateNetworkError(error, this.#origin);
    }
  }

  async #exchange(request: HttpRequest): Promise<HttpAnswer> {
    const exchange = new HttpExchange(request, this.#origin);
    const { path, headers, stallMs } = request;
    if (request.target !== undefined && request.method === "GET") {
      this.#data.dispatch({ path, headers, stallMs, handler: exchange.handler });
      return await exchange.answer;
    }
    const options: Dispatcher.DispatchOptions = {
      method: request.method,
      path: request.path,
      headers: { ...request.headers },
      body: request.body ?? null,
      headersTimeout: request.stallMs,
      bodyTimeout: request.stallMs,
    };
    this.#pools[request.lane].dispatch(options, exchange.handler);
    return await exchange.answer;
  }

  /** Drops every connection, also those in use. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#data.destroy();
    await Promise.all(Object.values(this.#pools).map((pool) => pool.destroy()));
  }
}
