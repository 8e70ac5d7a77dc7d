import type { TLSSocket } from "node:tls";
import type { ExchangeHandler } from "./http-exchange.js";
import { type ResponseBody, responseBody } from "./response-body.js";
import { HEAD_BYTES_MAX, InvalidAnswer, parseResponseHead, type ResponseHead } from "./response-head.js";

export interface DataRequest {
  /** Request line and headers, up to the empty line. */
  readonly text: string;
  /** Bound between two signs of life of the server. */
  readonly stallMs: number;
  readonly handler: ExchangeHandler;
}

/** How a connection failed, in the terms of http.ts. */
class ConnectionError extends Error {
  readonly code: string;

  constructor(code: string) {
    super(code);
    this.name = "ConnectionError";
    this.code = code;
  }
}

interface Current {
  readonly request: DataRequest;
  head: string;
  answer: { readonly head: ResponseHead; readonly body: ResponseBody } | undefined;
  /** Whether a byte of the answer has come. */
  begun: boolean;
}

export interface DataConnectionEvents {
  /** The answer is complete and another request may follow. */
  readonly onFree: (connection: DataConnection) => void;
  /**
   * The connection is gone. `unanswered` is a request of which the server has given no sign, on a connection that had
   * worked before: it closed while it was idle, and the request may be sent again.
   */
  readonly onGone: (connection: DataConnection, unanswered: DataRequest | undefined) => void;
}

/**
 * One connection that GETs one thing after the other. What the network brings arrives in one buffer that is used again and
 * again, and goes from there to where the body belongs: a stream in between would allocate, copy and collect every byte.
 */
export class DataConnection {
  readonly #events: DataConnectionEvents;
  #socket: TLSSocket | undefined;
  #current: Current | undefined;
  /** An answer that has just ended; the connection is free when nothing follows it in the same buffer. */
  #ended: ResponseHead | undefined;
  #answered = 0;
  #gone = false;

  constructor(events: DataConnectionEvents) {
    this.#events = events;
  }

  /** The peer is checked: requests may go out. @returns false when the connection is gone already */
  open(socket: TLSSocket): boolean {
    this.#socket = socket;
    if (this.#gone || socket.destroyed) {
      socket.destroy();
      this.#fail(new ConnectionError("UND_ERR_SOCKET"));
      return false;
    }
    socket.on("error", (error: Error) => {
      this.#fail(error);
    });
    socket.on("timeout", () => {
      const code = this.#current?.begun === true ? "UND_ERR_BODY_TIMEOUT" : "UND_ERR_HEADERS_TIMEOUT";
      this.#fail(new ConnectionError(code));
    });
    socket.on("end", () => {
      const current = this.#current;
      if (current?.answer?.body.endsWithConnection === true) this.#finish(current);
      this.#fail(new ConnectionError("UND_ERR_SOCKET"));
    });
    socket.on("close", () => {
      this.#fail(new ConnectionError("UND_ERR_SOCKET"));
    });
    return true;
  }

  /** Only when free. @returns false when nobody wants it any more: nothing was sent then */
  send(request: DataRequest): boolean {
    const current: Current = { request, head: "", answer: undefined, begun: false };
    const wish = { isGone: false };
    request.handler.onRequestStart({
      abort: (reason) => {
        wish.isGone = true;
        // What still comes would have to be read to the end before anything else.
        if (this.#current === current) this.#fail(reason);
      },
    });
    if (wish.isGone) return false;
    this.#current = current;
    this.#socket?.setTimeout(request.stallMs);
    this.#socket?.write(request.text, "latin1");
    return true;
  }

  /** The `length` bytes that have just come; they are gone when this returns. */
  received(buffer: Uint8Array, length: number): void {
    for (let at = 0; at < length && !this.#gone;) {
      const current = this.#current;
      if (current === undefined) {
        this.#fail(new InvalidAnswer("the server sent what nobody had asked for"));
        return;
      }
      current.begun = true;
      const take = current.answer === undefined ? this.#takeHead : this.#takeBody;
      at = take.call(this, current, buffer, at, length);
    }
    const answer = this.#ended;
    this.#ended = undefined;
    if (answer === undefined || this.#gone) return;
    if (answer.staysOpen) this.#events.onFree(this);
    else this.#fail(new ConnectionError("UND_ERR_SOCKET"));
  }

  destroy(error: Error): void {
    this.#fail(error);
  }

  #takeHead(current: Current, buffer: Uint8Array, from: number, length: number): number {
    const known = current.head.length;
    const chunk = Buffer.from(buffer.buffer, buffer.byteOffset + from, length - from);
    current.head += chunk.toString("latin1", 0, HEAD_BYTES_MAX + 4 - known);
    const end = current.head.indexOf("\r\n\r\n", Math.max(0, known - 3));
    if (end < 0) {
      if (current.head.length > HEAD_BYTES_MAX) this.#fail(new InvalidAnswer("its head is endless"));
      return length;
    }
    const next = from + end + 4 - known;
    const head = current.head.slice(0, end);
    current.head = "";
    try {
      const answer = parseResponseHead(head);
      // 1xx: the real answer follows.
      if (answer.status >= 200) this.#begin(current, answer);
    } catch (error) {
      this.#fail(error instanceof Error ? error : new Error(String(error)));
    }
    return next;
  }

  #begin(current: Current, head: ResponseHead): void {
    const body = responseBody(head);
    current.answer = { head, body };
    current.request.handler.onResponseStart(CONTROLLER, head.status, head.headers);
    if (body.isComplete) this.#finish(current);
  }

  #takeBody(current: Current, buffer: Uint8Array, from: number, length: number): number {
    const body = current.answer?.body;
    try {
      const next = body?.take(buffer, from, length, (piece) => {
        current.request.handler.onResponseData(CONTROLLER, piece);
      });
      if (body?.isComplete === true) this.#finish(current);
      return next ?? length;
    } catch (error) {
      this.#fail(error instanceof Error ? error : new Error(String(error)));
      return length;
    }
  }

  #finish(current: Current): void {
    // Its taker may have ended it in the middle.
    if (this.#current !== current) return;
    this.#current = undefined;
    this.#ended = current.answer?.head;
    this.#answered++;
    this.#socket?.setTimeout(0);
    current.request.handler.onResponseEnd();
  }

  /** Ends the connection, and the request on it. */
  #fail(error: Error): void {
    if (this.#gone) return;
    this.#gone = true;
    this.#socket?.destroy();
    const current = this.#current;
    this.#current = undefined;
    const closedWhileIdle = current?.begun === false && this.#answered > 0 && isClosing(error);
    if (current !== undefined && !closedWhileIdle) current.request.handler.onResponseError(CONTROLLER, error);
    this.#events.onGone(this, closedWhileIdle ? current.request : undefined);
  }
}

function isClosing(error: Error): boolean {
  return ["UND_ERR_SOCKET", "ECONNRESET", "EPIPE"].includes((error as NodeJS.ErrnoException).code ?? "");
}

/** Requests are ended through what `onRequestStart` got; the rest of the shape is undici's. */
const CONTROLLER = { abort: (): void => undefined };
