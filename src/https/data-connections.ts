import { UnreachableError } from "../errors.js";
import { DataConnection, type DataRequest } from "./data-connection.js";
import { requestText } from "./request-text.js";
import type { ConnectCallback, ConnectTarget, TrustingConnector } from "./tls.js";

/** A TLS record, which is what comes at a time; small enough to stay in the processor's cache. */
const RECEIVE_BYTES = 16 * 1024;

/** Servers close idle connections after 5 seconds and more (Node, nginx, hostd): a connection rests no longer than this. */
const IDLE_MS = 4_000;

export interface DataQuery extends Omit<DataRequest, "text"> {
  readonly path: string;
  readonly headers: Readonly<Record<string, string>>;
}

/** The connections that disk data comes through: few, kept open, each asked for one range after the other. */
export class DataConnections {
  readonly #target: ConnectTarget;
  readonly #host: string;
  readonly #connect: TrustingConnector;
  readonly #connectionsMax: number;
  readonly #all = new Set<DataConnection>();
  readonly #resting: { readonly connection: DataConnection; readonly timer: NodeJS.Timeout }[] = [];
  /** Requests that wait for a connection, first come first served; bounded by the readers above, who wait for each. */
  readonly #line: DataRequest[] = [];
  /** Gives up the attempts under way. */
  readonly #opening = new Set<() => void>();
  #closed = false;

  /** @param origin `https://host:port` */
  constructor(origin: string, connect: TrustingConnector, connectionsMax: number) {
    const url = new URL(origin);
    this.#target = { hostname: url.hostname, port: url.port === "" ? 443 : url.port };
    this.#host = url.host;
    this.#connect = connect;
    this.#connectionsMax = connectionsMax;
  }

  /**
   * GETs `path` (with its query); answers through the handler, sooner or later.
   * @param request.stallMs between two signs of life of the server
   * @throws TypeError for a path or header that would not stay on its line: a bug of the caller
   */
  dispatch({ path, headers, stallMs, handler }: DataQuery): void {
    const request = { text: requestText("GET", path, { host: this.#host, ...headers }), stallMs, handler };
    if (this.#closed) {
      request.handler.onResponseError(NO_CONTROLLER, closedHere());
      return;
    }
    this.#line.push(request);
    this.#serveLine();
  }

  /** Ends every connection, also those in use. */
  destroy(): void {
    this.#closed = true;
    for (const request of this.#line.splice(0)) request.handler.onResponseError(NO_CONTROLLER, closedHere());
    for (const connection of [...this.#all]) connection.destroy(closedHere());
    for (const giveUp of [...this.#opening]) giveUp();
  }

  #serveLine(): void {
    while (this.#line.length > 0) {
      // The one used last: the others may rest until they are closed.
      const free = this.#resting.pop();
      if (free === undefined) break;
      clearTimeout(free.timer);
      this.#serve(free.connection);
    }
    // Each of those that are being opened will take one.
    while (this.#opening.size < this.#line.length && this.#all.size < this.#connectionsMax) this.#open();
  }

  /** Gives a free connection something to do, or lets it rest. */
  #serve(connection: DataConnection): void {
    for (let request = this.#line.shift(); request !== undefined; request = this.#line.shift()) {
      if (connection.send(request)) return;
    }
    const timer = setTimeout(() => {
      connection.destroy(new UnreachableError("The connection had nothing to do"));
    }, IDLE_MS).unref();
    this.#resting.push({ connection, timer });
  }

  #open(): void {
    const connection = new DataConnection({
      onFree: (free) => {
        this.#serve(free);
      },
      onGone: (gone, unanswered) => {
        this.#forget(gone);
        if (unanswered !== undefined) this.#line.unshift(unanswered);
        this.#serveLine();
      },
    });
    this.#all.add(connection);
    const onread = {
      buffer: Buffer.allocUnsafeSlow(RECEIVE_BYTES),
      callback: (length: number, buffer: Uint8Array): boolean => {
        connection.received(buffer, length);
        return true;
      },
    };
    const opened: ConnectCallback = (...[error, socket]) => {
      this.#opening.delete(giveUp);
      if (error !== null) {
        this.#all.delete(connection);
        // Whoever has waited longest hears of it; the others may still be lucky.
        this.#line.shift()?.handler.onResponseError(NO_CONTROLLER, error);
        if (!this.#closed) this.#serveLine();
      } else if (this.#closed) {
        socket.destroy();
      } else {
        if (connection.open(socket)) {
          this.#serve(connection);
          return;
        }
        this.#line
          .shift()
          ?.handler.onResponseError(NO_CONTROLLER, new UnreachableError("The server closed the connection"));
        this.#serveLine();
      }
    };
    // The answer never comes before this returns.
    const giveUp = this.#connect(this.#target, opened, onread);
    this.#opening.add(giveUp);
  }

  #forget(connection: DataConnection): void {
    this.#all.delete(connection);
    const index = this.#resting.findIndex((resting) => resting.connection === connection);
    const [resting] = index < 0 ? [] : this.#resting.splice(index, 1);
    clearTimeout(resting?.timer);
  }
}

function closedHere(): Error {
  return new UnreachableError("The connection was closed on our side");
}

const NO_CONTROLLER = { abort: (): void => undefined };
