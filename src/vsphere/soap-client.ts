import { HypervisorFaultError, UnreachableError } from "../errors.js";
import type { Logger } from "../log.js";
import { MIB } from "../units.js";
import type { CookieJar } from "./cookies.js";
import { child, descend } from "./element.js";
import { parseSoapFault, SoapFault } from "./faults.js";
import type { HttpAnswer } from "../https/http-exchange.js";
import type { HttpClient } from "../https/http-client.js";
import { errorCode } from "../https/network-error.js";
import type { VsphereLimits } from "./limits.js";
import { encodeEnvelope, type SoapRequest } from "./soap-message.js";
import { parseXml, type XmlElement } from "./xml.js";

export interface SoapCallOptions {
  readonly signal: AbortSignal;
  /** The server may hold the call on purpose: give up after this, in place of the usual bound. */
  readonly heldMs?: number | undefined;
  /** Of the answer, in place of the usual bound; more is an IntegrityError. */
  readonly responseBytesMax?: number | undefined;
}

/** Enough to see what went wrong; a property dump of thousands of VMs is not. */
const DUMP_CHARS_MAX = 16 * 1024;
/** vimServiceVersions.xml has some hundred bytes. */
const VERSIONS_BYTES_MAX = MIB;
/** A connection that died before any answer; the server may have closed it while idle. */
const LOST_CONNECTION = ["UND_ERR_SOCKET", "ECONNRESET", "EPIPE"];

/** Sends one request at a time to `/sdk` and reads the answer. Knows cookies, but nothing of sessions. */
export class SoapClient {
  readonly #http: HttpClient;
  readonly #cookies: CookieJar;
  readonly #logger: Logger;
  readonly #limits: VsphereLimits;
  /** The oldest version that every supported server knows, until the server has said more. */
  #version = "6.5";

  constructor(http: HttpClient, cookies: CookieJar, logger: Logger, limits: VsphereLimits) {
    this.#http = http;
    this.#cookies = cookies;
    this.#logger = logger;
    this.#limits = limits;
  }

  /** The API version that requests ask for. */
  useVersion(version: string): void {
    this.#version = version;
  }

  /** The public list of API versions; needs no login. */
  async serviceVersions(signal: AbortSignal): Promise<XmlElement | undefined> {
    const answer = await this.#http.request({
      lane: "control",
      method: "GET",
      path: "/sdk/vimServiceVersions.xml",
      headers: {},
      signal,
      deadlineMs: this.#limits.callMs,
      stallMs: this.#limits.callMs,
      bodyBytesMax: VERSIONS_BYTES_MAX,
    });
    // Absent on some proxies: the caller has a version to start with.
    return answer.status === 200 ? parseXml(textOf(answer)) : undefined;
  }

  /**
   * @returns the `…Response` element
   * @throws SoapFault for a fault, UnreachableError when there is no SOAP answer
   */
  async call(request: SoapRequest, options: SoapCallOptions): Promise<XmlElement> {
    try {
      return await this.#callOnce(request, options);
    } catch (error) {
      const isLost =
        error instanceof UnreachableError &&
        LOST_CONNECTION.includes(errorCode(error.cause) ?? "") &&
        !options.signal.aborted;
      if (!isLost || request.isReadOnly !== true) throw error;
      return this.#callOnce(request, options);
    }
  }

  async #callOnce(request: SoapRequest, options: SoapCallOptions): Promise<XmlElement> {
    const started = performance.now();
    let outcome = "ok";
    let size = 0;
    try {
      const answer = await this.#post(request, options);
      size = answer.body.length;
      return this.#read(request, answer);
    } catch (error) {
      outcome = error instanceof SoapFault ? error.fault : error instanceof Error ? error.name : "failed";
      throw error;
    } finally {
      const ms = Math.round(performance.now() - started);
      this.#logger.debug(`${request.method} ${outcome}`, {
        object: withoutSessionKey(request.self.id),
        ms,
        bytes: size,
      });
    }
  }

  async #post(request: SoapRequest, options: SoapCallOptions): Promise<HttpAnswer> {
    const body = encodeEnvelope(request);
    this.#dump("sent", request, body);
    const deadlineMs = options.heldMs ?? this.#limits.callMs;
    const answer = await this.#http.request({
      lane: options.heldMs === undefined ? "control" : "wait",
      method: "POST",
      path: "/sdk",
      headers: {
        "content-type": 'text/xml; charset="utf-8"',
        soapaction: `"urn:vim25/${this.#version}"`,
        ...this.#cookies.headers(),
      },
      body,
      signal: options.signal,
      deadlineMs,
      stallMs: deadlineMs,
      bodyBytesMax: options.responseBytesMax ?? this.#limits.responseBytesMax,
    });
    this.#cookies.take(answer.cookies);
    return answer;
  }

  #read(request: SoapRequest, answer: HttpAnswer): XmlElement {
    const text = textOf(answer);
    this.#dump("received", request, text);
    if (answer.status !== 200 && answer.status !== 500) throw refusal(answer.status);
    // A proxy in front of the server answers 500 with a page of its own.
    if (answer.status === 500 && !text.includes("Envelope")) {
      throw new HypervisorFaultError(`Cannot call ${request.method}: the server answered HTTP 500 without a reason`, {
        fault: "HTTP 500",
        retryable: true,
      });
    }
    const body = descend(parseXml(text), "Body");
    const fault = child(body, "Fault");
    if (fault !== undefined) throw parseSoapFault(fault);
    const response = child(body, `${request.method}Response`);
    if (response === undefined) {
      throw new HypervisorFaultError(`Cannot call ${request.method}: the answer holds no ${request.method}Response`, {
        fault: "UnexpectedAnswer",
      });
    }
    return response;
  }

  #dump(direction: "sent" | "received", request: SoapRequest, text: string): void {
    if (!this.#logger.isEnabled("trace")) return;
    const xml = request.isSecret === true ? "[secret]" : withoutSessionKey(text.slice(0, DUMP_CHARS_MAX));
    this.#logger.trace(`${request.method} ${direction}`, { xml });
  }
}

/** Ids of views and filters hold the key of the session: `session[52c6…]52f1…`. */
function withoutSessionKey(text: string): string {
  return text.replace(/session\[[^\]]*\]/g, "session[redacted]");
}

function textOf(answer: HttpAnswer): string {
  return Buffer.from(answer.body.buffer, answer.body.byteOffset, answer.body.length).toString("utf8");
}

/** HTTP statuses that stand for "later": gateway trouble, too many sessions, rate limits. */
export const BUSY_STATUSES: readonly number[] = [429, 502, 503, 504];

function refusal(status: number): UnreachableError {
  if (BUSY_STATUSES.includes(status)) {
    return new UnreachableError(`Cannot reach the server: it is busy or out of sessions (HTTP ${status})`);
  }
  return new UnreachableError(`Cannot use the server: /sdk answered HTTP ${status}, so it is no vSphere server`, {
    retryable: false,
    hint: "Check host and port: vCenter and ESXi listen on 443",
  });
}
