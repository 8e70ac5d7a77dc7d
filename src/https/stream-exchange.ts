import { setMaxListeners } from "node:events";
import type { TLSSocket } from "node:tls";
import { IntegrityError, UnreachableError } from "../errors.js";
import type { Bytes } from "../units.js";
import { translateNetworkError } from "./network-error.js";
import { requestText } from "./request-text.js";
import { type ResponseBody, responseBody } from "./response-body.js";
import { HEAD_BYTES_MAX, parseResponseHead, type ResponseHead } from "./response-head.js";
import { trustingConnector, type TlsTrust } from "./tls.js";

export interface StreamTarget {
  /** `https://host:port` */
  readonly origin: string;
  readonly trust: TlsTrust;
  /** TCP and TLS together. */
  readonly connectMs: number;
}

export interface StreamRequest {
  readonly method: "GET" | "PUT";
  /** Path and query. */
  readonly path: string;
  /** Of the body that `send` will send. */
  readonly length?: Bytes;
  /** Until the head of the answer is complete. */
  readonly headMs: number;
  /** Bound between two signs of life of the server. */
  readonly stallMs: number;
  /** Ends the exchange at any moment. */
  readonly signal: AbortSignal;
}

/**
 * One exchange on a connection of its own, whose bodies may be endless: bytes come only as fast as they are taken. For
 * servers that answer before they read a request's body: it is sent once the answer's head has come.
 */
export class StreamExchange implements AsyncDisposable {
  readonly head: ResponseHead;
  readonly #io: SocketBytes;
  /** What came in one piece with the head. */
  readonly #rest: Uint8Array;

  private constructor(head: ResponseHead, io: SocketBytes, rest: Uint8Array) {
    this.head = head;
    this.#io = io;
    this.#rest = rest;
  }

  /** @throws UnreachableError, IntegrityError for an answer that is no HTTP, the signal's reason */
  static async begin(target: StreamTarget, request: StreamRequest): Promise<StreamExchange> {
    request.signal.throwIfAborted();
    const { host } = new URL(target.origin);
    const length = request.length === undefined ? {} : { "content-length": String(request.length) };
    const text = requestText(request.method, request.path, { host, connection: "close", ...length });
    const io = new SocketBytes(await connect(target, request.signal), target.origin, request);
    try {
      await io.write(Buffer.from(text, "latin1"));
      const { head, rest } = await readHead(io, request.headMs);
      return new StreamExchange(head, io, rest);
    } catch (error) {
      io.destroy();
      throw error;
    }
  }

  /** The answer's body, once. Leaving the loop ends the exchange. @throws UnreachableError, IntegrityError */
  async *body(): AsyncGenerator<Uint8Array, void, undefined> {
    const body = responseBody(this.head);
    try {
      for (let piece: Uint8Array | undefined = this.#rest; ; piece = await this.#io.next()) {
        if (piece === undefined) {
          if (body.endsWithConnection) return;
          throw new UnreachableError(`Cannot reach ${this.#io.origin}: the answer stopped half-way`);
        }
        const taken = this.#taken(body, piece);
        for (const part of taken) if (part.length > 0) yield part;
        if (body.isComplete) return;
      }
    } finally {
      this.#io.destroy();
    }
  }

  #taken(body: ResponseBody, piece: Uint8Array): Uint8Array[] {
    const parts: Uint8Array[] = [];
    try {
      body.take(piece, 0, piece.length, (part) => parts.push(part));
    } catch (error) {
      throw translateNetworkError(error, this.#io.origin);
    }
    return parts;
  }

  /**
   * Sends the request's body.
   * @returns false when the server closed the connection before all of it was sent: it may have had enough
   * @throws UnreachableError when the server takes nothing for too long, whatever `chunks` throws
   */
  async send(chunks: AsyncIterable<Uint8Array>): Promise<boolean> {
    for await (const chunk of chunks) {
      if (!(await this.#io.offer(chunk))) return false;
    }
    return true;
  }

  [Symbol.asyncDispose](): Promise<void> {
    this.#io.destroy();
    return Promise.resolve();
  }
}

async function connect(target: StreamTarget, signal: AbortSignal): Promise<TLSSocket> {
  const { hostname, port } = new URL(target.origin);
  let onAbort: (() => void) | undefined;
  try {
    return await new Promise<TLSSocket>((resolve, reject) => {
      const open = trustingConnector(target.trust, target.connectMs);
      const giveUp = open({ hostname, port: port === "" ? 443 : port }, (...[error, socket]) => {
        if (error === null) resolve(socket);
        else reject(error);
      });
      onAbort = () => {
        reject(signal.reason as Error);
        giveUp();
      };
      signal.addEventListener("abort", onAbort, { once: true });
    });
  } catch (error) {
    if (signal.aborted) throw signal.reason;
    throw translateNetworkError(error, target.origin);
  } finally {
    if (onAbort !== undefined) signal.removeEventListener("abort", onAbort);
  }
}

/** The bytes of a connection, each way with a bound on how long nothing may happen. */
class SocketBytes {
  readonly origin: string;
  readonly #socket: TLSSocket;
  readonly #request: StreamRequest;
  readonly #incoming: AsyncIterator<Uint8Array>;

  constructor(socket: TLSSocket, origin: string, request: StreamRequest) {
    this.#socket = socket;
    this.origin = origin;
    this.#request = request;
    this.#incoming = socket[Symbol.asyncIterator]() as AsyncIterator<Uint8Array>;
    setMaxListeners(0, request.signal);
    request.signal.addEventListener("abort", this.#onAbort, { once: true });
    if (request.signal.aborted) this.#onAbort();
  }

  readonly #onAbort = (): void => {
    this.#socket.destroy(this.#request.signal.reason as Error);
  };

  /** @returns undefined at the end @throws UnreachableError, the signal's reason */
  async next(timeoutMs = this.#request.stallMs): Promise<Uint8Array | undefined> {
    const result = await this.#bounded(timeoutMs, () => this.#incoming.next());
    return result.done === true ? undefined : result.value;
  }

  async write(chunk: Uint8Array): Promise<void> {
    await this.#bounded(this.#request.stallMs, () => this.#written(chunk));
  }

  /** @returns false when the peer wants no more */
  async offer(chunk: Uint8Array): Promise<boolean> {
    try {
      await this.write(chunk);
      return true;
    } catch (error) {
      if (this.#request.signal.aborted || this.#stalled) throw error;
      return false;
    }
  }

  #stalled = false;

  #written(chunk: Uint8Array): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#socket.write(chunk, (error) => {
        if (error === null || error === undefined) resolve();
        else reject(error);
      });
    });
  }

  async #bounded<T>(timeoutMs: number, work: () => Promise<T>): Promise<T> {
    const timer = setTimeout(() => {
      this.#stalled = true;
      this.#socket.destroy(
        new UnreachableError(`Cannot reach ${this.origin}: nothing happened for ${timeoutMs / 1000} s`),
      );
    }, timeoutMs);
    try {
      return await work();
    } catch (error) {
      if (this.#request.signal.aborted) throw this.#request.signal.reason;
      throw translateNetworkError(error, this.origin);
    } finally {
      clearTimeout(timer);
    }
  }

  destroy(): void {
    this.#request.signal.removeEventListener("abort", this.#onAbort);
    this.#socket.destroy();
  }
}

/** 1xx answers come before the real one. */
async function readHead(io: SocketBytes, headMs: number): Promise<{ head: ResponseHead; rest: Uint8Array }> {
  const until = performance.now() + headMs;
  for (let known: Uint8Array = Buffer.alloc(0); ;) {
    const piece = await io.next(Math.max(1, until - performance.now()));
    if (piece === undefined) throw new UnreachableError(`Cannot reach ${io.origin}: the server closed the connection`);
    known = Buffer.concat([known, piece]);
    for (let end = headEnd(known); end >= 0; end = headEnd(known)) {
      const text = Buffer.from(known.subarray(0, end)).toString("latin1");
      known = known.subarray(end + 4);
      const head = parsed(text, io.origin);
      if (head.status >= 200) return { head, rest: known };
    }
    if (known.length > HEAD_BYTES_MAX) {
      throw new IntegrityError(`Cannot read the answer of ${io.origin}: its head is endless`);
    }
  }
}

function headEnd(known: Uint8Array): number {
  return Buffer.from(known.buffer, known.byteOffset, known.length).indexOf("\r\n\r\n");
}

function parsed(text: string, origin: string): ResponseHead {
  try {
    return parseResponseHead(text);
  } catch (error) {
    throw translateNetworkError(error, origin);
  }
}
