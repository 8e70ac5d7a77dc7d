import { IntegrityError, UnreachableError } from "../../errors.js";
import { HttpClient } from "../../https/http-client.js";
import type { TlsTrust } from "../../https/tls.js";
import type { Logger } from "../../log.js";
import { XapiFault } from "./fault.js";
import type { XenLimits } from "./limits.js";
import type { XapiValue } from "./value.js";
import { type DumpedCall, withoutSecrets } from "./dump.js";
import { parseAnswer, serializeCall } from "./xmlrpc-message.js";

export interface RpcOptions {
  readonly signal: AbortSignal;
  /** How long the server itself may hold the call, in milliseconds. */
  readonly heldMs?: number | undefined;
}

/** XML-RPC with one host of a pool. */
export class RpcClient implements AsyncDisposable {
  readonly #http: HttpClient;
  readonly #origin: string;
  readonly #limits: XenLimits;
  readonly #logger: Logger;

  /** @param origin `https://host:port` @throws ConfigError for a bad fingerprint */
  constructor(origin: string, trust: TlsTrust, limits: XenLimits, logger: Logger) {
    this.#http = new HttpClient({ origin }, trust, limits);
    this.#origin = origin;
    this.#limits = limits;
    this.#logger = logger;
  }

  /** @throws XapiFault, UnreachableError, IntegrityError for an answer that is none */
  async call(method: string, params: readonly XapiValue[], { signal, heldMs }: RpcOptions): Promise<XapiValue> {
    const body = serializeCall(method, params);
    const size = Buffer.byteLength(body);
    if (size > this.#limits.requestBytesMax) {
      throw new RangeError(`Cannot call ${method}: the request has ${size} bytes, and XAPI takes 307200`);
    }
    const deadlineMs = this.#limits.callMs + (heldMs ?? 0);
    this.#dump(`${method} sent`, body, { method, params });
    const startedAt = performance.now();
    const answer = await this.#http.request({
      lane: heldMs === undefined ? "control" : "wait",
      method: "POST",
      path: "/",
      headers: { "content-type": "text/xml", accept: "text/xml" },
      body,
      signal,
      deadlineMs,
      stallMs: deadlineMs,
      bodyBytesMax: this.#limits.responseBytesMax,
    });
    if (answer.status >= 500) {
      throw new UnreachableError(`Cannot call ${method} on ${this.#origin}: it answers HTTP ${answer.status}`);
    }
    if (answer.status !== 200) {
      throw new IntegrityError(
        `Cannot call ${method} on ${this.#origin}: it answers HTTP ${answer.status}, as no XAPI does`,
        { hint: "Is this a XenServer or XCP-ng host?" },
      );
    }
    this.#dump(`${method} received`, answer.body, { method, params });
    const ms = Math.round(performance.now() - startedAt);
    const fields = { host: this.#origin, ms, bytes: answer.body.length };
    try {
      const value = await parseAnswer(answer.body, this.#origin);
      this.#logger.debug(`${method} ok`, fields);
      return value;
    } catch (error) {
      if (error instanceof XapiFault) this.#logger.debug(`${method} ${error.code}`, fields);
      throw error;
    }
  }

  #dump(what: string, body: string | Uint8Array, call: DumpedCall): void {
    if (!this.#logger.isEnabled("trace")) return;
    this.#logger.trace(what, { xml: withoutSecrets(Buffer.from(body).toString("utf8"), call) });
  }

  /** Drops every connection. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.#http[Symbol.asyncDispose]();
  }
}
