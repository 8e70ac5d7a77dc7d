import { setTimeout as delay } from "node:timers/promises";
import { AuthError, UnreachableError } from "../errors.js";
import type { Logger } from "../log.js";
import { unlessAborted } from "../unless-aborted.js";
import type { CookieJar } from "./cookies.js";
import { translateFault } from "./fault-errors.js";
import { SoapFault } from "./faults.js";
import type { VsphereLimits } from "./limits.js";
import { currentTime, login, logout } from "./requests.js";
import type { ServiceContent } from "./service-content.js";
import type { SoapCallOptions, SoapClient } from "./soap-client.js";
import type { SoapRequest } from "./soap-message.js";
import type { XmlElement } from "./xml.js";

export interface Credentials {
  readonly user: string;
  readonly password: string;
}

export type SoapCall = (request: SoapRequest, options: SoapCallOptions) => Promise<XmlElement>;

/** The server no longer knows the session: what `run` repeats once after a new login. */
export class SessionExpired extends Error {
  override readonly name = "SessionExpired";
}

/**
 * A logged-in session. When the server has ended it, the first operation that notices logs in again and everybody who
 * waits shares that login. A refused login is final: repeating it would lock the account.
 */
export class Session implements AsyncDisposable {
  readonly content: ServiceContent;
  readonly cookies: CookieJar;
  readonly #client: SoapClient;
  readonly #credentials: Credentials;
  readonly #limits: VsphereLimits;
  readonly #logger: Logger;
  #keepAlive: NodeJS.Timeout | undefined;
  /** Counts logins, so that an operation knows whether somebody has logged in since it started. */
  #generation = 0;
  #login: Promise<void> | undefined;
  #refusal: AuthError | undefined;
  #isClosed = false;
  readonly #closing = new AbortController();

  constructor(
    parts: { client: SoapClient; cookies: CookieJar; content: ServiceContent; limits: VsphereLimits; logger: Logger },
    credentials: Credentials,
  ) {
    this.content = parts.content;
    this.cookies = parts.cookies;
    this.#client = parts.client;
    this.#limits = parts.limits;
    this.#logger = parts.logger;
    this.#credentials = credentials;
  }

  /** @throws AuthError for wrong credentials */
  async open(signal: AbortSignal): Promise<void> {
    signal.throwIfAborted();
    await unlessAborted(this.#sharedLogin(), signal);
    this.#keepAlive = setInterval(() => void this.#touch(), this.#limits.keepAliveMs);
    // An open session alone must not keep the process running.
    this.#keepAlive.unref();
  }

  /** One call; logs in again once when the session has expired. @throws SoapFault */
  async call(request: SoapRequest, options: SoapCallOptions): Promise<XmlElement> {
    return this.run((call) => call(request, options), options.signal);
  }

  /**
   * Several calls that depend on one server session (views, filters, page tokens): all are repeated after a new login.
   * @throws SoapFault
   */
  async run<T>(operation: (call: SoapCall) => Promise<T>, signal: AbortSignal): Promise<T> {
    const generation = this.#generation;
    const call: SoapCall = (request, options) => this.#client.call(request, options);
    try {
      return await operation(call);
    } catch (error) {
      if (!isExpired(error)) throw error;
      await this.#logInAfter(generation, signal);
    }
    try {
      return await operation(call);
    } catch (error) {
      if (!(error instanceof SessionExpired)) throw error;
      // The login itself succeeded: sessions may end twice in a row, and a repetition is bounded by its caller.
      throw new AuthError("Cannot use the session: the server refuses it right after the login", {
        cause: error,
        retryable: true,
      });
    }
  }

  /** Shared by everybody who noticed the same loss. */
  async #logInAfter(generation: number, signal: AbortSignal): Promise<void> {
    if (this.#generation !== generation) return;
    if (this.#login === undefined) {
      this.#logger.info("Session expired, logging in again");
      this.cookies.clear();
    }
    await unlessAborted(this.#sharedLogin(), signal);
  }

  /** Not with a waiter's signal: if it gives up, others still need the login, and without its cookie nobody could log out. */
  #sharedLogin(): Promise<void> {
    this.#login ??= this.#logIn(this.#closing.signal).finally(() => {
      this.#login = undefined;
    });
    return this.#login;
  }

  async #logIn(signal: AbortSignal): Promise<void> {
    if (this.#refusal !== undefined) throw this.#refusal;
    const { user, password } = this.#credentials;
    try {
      await this.#client.call(login(this.content.sessionManager, user, password), { signal });
    } catch (error) {
      if (!(error instanceof SoapFault)) throw error;
      const translated = translateFault(error, `Cannot log in as "${user}"`);
      if (translated instanceof AuthError) this.#refusal = translated;
      throw translated;
    }
    this.#generation++;
  }

  async #touch(): Promise<void> {
    try {
      await this.call(currentTime(), { signal: AbortSignal.timeout(this.#limits.callMs) });
    } catch (error) {
      // The next real call meets the same trouble and reports it where it matters.
      this.#logger.debug("Cannot keep the session alive", { error: String(error) });
    }
  }

  /** Logs out, best effort: an unreachable server forgets the session by itself. */
  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#isClosed) return;
    this.#isClosed = true;
    clearInterval(this.#keepAlive);
    // A login under way would leave a session behind.
    const { logoutMs } = this.#limits;
    await Promise.race([this.#login?.catch(() => undefined), delay(logoutMs, undefined, { ref: false })]);
    this.#closing.abort(new UnreachableError("The connection was closed on our side"));
    if (this.#generation === 0) return;
    try {
      const signal = AbortSignal.timeout(logoutMs);
      await this.#client.call(logout(this.content.sessionManager), { signal });
    } catch (error) {
      this.#logger.debug("Cannot log out", { error: String(error) });
    }
  }
}

function isExpired(error: unknown): boolean {
  return error instanceof SessionExpired || (error instanceof SoapFault && error.fault === "NotAuthenticated");
}
