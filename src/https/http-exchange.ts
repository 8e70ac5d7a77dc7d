import { setMaxListeners } from "node:events";
import type { IncomingHttpHeaders } from "node:http";
import { IntegrityError, UnreachableError } from "../errors.js";

export interface HttpAnswer {
  readonly status: number;
  readonly header: (name: string) => string | undefined;
  /** Every value of Set-Cookie. */
  readonly cookies: readonly string[];
  /** The body; empty where a target took it. */
  readonly body: Uint8Array;
  /** Bytes that went into the target. */
  readonly filled: number;
}

export interface ExchangeRequest {
  readonly signal: AbortSignal;
  readonly deadlineMs?: number;
  readonly bodyBytesMax: number;
  readonly target?: (status: number, header: (name: string) => string | undefined) => Uint8Array | Error | undefined;
}

interface Settle {
  readonly resolve: (answer: HttpAnswer) => void;
  readonly reject: (error: unknown) => void;
}

interface Controller {
  abort(reason: Error): void;
}

/** Hears of one request, in the shape of undici's dispatch handlers. A chunk is only valid during the call. */
export interface ExchangeHandler {
  onRequestStart(controller: Controller): void;
  onResponseStart(controller: Controller, status: number, headers: IncomingHttpHeaders): void;
  onResponseData(controller: Controller, chunk: Uint8Array): void;
  onResponseEnd(): void;
  onResponseError(controller: Controller, error: Error): void;
}

/** One request on its way: collects the answer and ends early on abort, deadline or too many bytes. */
export class HttpExchange {
  readonly answer: Promise<HttpAnswer>;
  readonly #request: ExchangeRequest;
  readonly #origin: string;
  #settle: Settle | undefined;
  #controller: Controller | undefined;
  readonly #timer: NodeJS.Timeout | undefined;
  #status = 0;
  #headers: IncomingHttpHeaders = {};
  #target: Uint8Array | undefined;
  #filled = 0;
  #size = 0;
  readonly #chunks: Uint8Array[] = [];

  constructor(request: ExchangeRequest, origin: string) {
    this.#request = request;
    this.#origin = origin;
    this.answer = new Promise((resolve, reject) => {
      this.#settle = { resolve, reject };
    });
    // One signal ends many reads: more than ten listeners are no leak here, each goes with its request.
    setMaxListeners(0, request.signal);
    request.signal.addEventListener("abort", this.#onAbort, { once: true });
    if (request.deadlineMs !== undefined) {
      const { deadlineMs } = request;
      this.#timer = setTimeout(() => {
        this.#fail(new UnreachableError(`Cannot reach ${origin}: no complete answer within ${deadlineMs / 1000} s`));
      }, deadlineMs);
    }
  }

  readonly handler: ExchangeHandler = {
    onRequestStart: (controller: Controller): void => {
      this.#controller = controller;
      // It waited in the queue and nobody wants it any more.
      if (this.#settle === undefined) controller.abort(new Error("aborted"));
    },
    onResponseStart: (_: Controller, status: number, headers: IncomingHttpHeaders): void => {
      // 1xx answers come before the real one.
      if (status < 200) return;
      this.#status = status;
      this.#headers = headers;
      const target = this.#request.target?.(status, this.#header);
      if (target instanceof Error) this.#fail(target);
      else this.#target = target;
    },
    onResponseData: (_: Controller, chunk: Uint8Array): void => {
      if (this.#settle !== undefined) this.#take(chunk);
    },
    onResponseEnd: (): void => {
      const settle = this.#finish();
      const cookies = this.#headers["set-cookie"] ?? [];
      settle?.resolve({
        status: this.#status,
        header: this.#header,
        cookies: Array.isArray(cookies) ? cookies : [cookies],
        body: Buffer.concat(this.#chunks),
        filled: this.#filled,
      });
    },
    onResponseError: (_: Controller, error: Error): void => {
      this.#finish()?.reject(error);
    },
  };

  readonly #header = (name: string): string | undefined => {
    const value = this.#headers[name];
    return Array.isArray(value) ? value[0] : value;
  };

  #take(chunk: Uint8Array): void {
    if (this.#target !== undefined) {
      if (this.#filled + chunk.length > this.#target.length) {
        this.#fail(
          new IntegrityError(`Cannot read the answer of ${this.#origin}: it has more bytes than were asked for`),
        );
        return;
      }
      this.#target.set(chunk, this.#filled);
      this.#filled += chunk.length;
      return;
    }
    this.#size += chunk.length;
    if (this.#size > this.#request.bodyBytesMax) {
      const limit = this.#request.bodyBytesMax;
      this.#fail(new IntegrityError(`Cannot read the answer of ${this.#origin}: it has more than ${limit} bytes`));
      return;
    }
    this.#chunks.push(chunk.slice());
  }

  readonly #onAbort = (): void => {
    this.#fail(this.#request.signal.reason);
  };

  #fail(error: unknown): void {
    this.#finish()?.reject(error);
    this.#controller?.abort(error instanceof Error ? error : new Error("aborted"));
  }

  /** Only the first end counts. */
  #finish(): Settle | undefined {
    const settle = this.#settle;
    this.#settle = undefined;
    clearTimeout(this.#timer);
    this.#request.signal.removeEventListener("abort", this.#onAbort);
    return settle;
  }
}
