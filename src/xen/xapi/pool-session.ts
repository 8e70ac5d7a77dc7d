import { hostname } from "node:os";
import { setTimeout as delay } from "node:timers/promises";
import { deadline } from "../../deadline.js";
import { AuthError, UnreachableError } from "../../errors.js";
import type { Logger } from "../../log.js";
import { XapiFault } from "./fault.js";
import { translateFault } from "./fault-errors.js";
import { toText } from "./fields.js";
import type { XenLimits } from "./limits.js";
import type { Members } from "./members.js";
import type { RpcOptions } from "./rpc-client.js";
import type { XapiValue } from "./value.js";
import { unlessAborted } from "../../unless-aborted.js";

export interface Credentials {
  readonly user: string;
  readonly password: string;
}

/** The master, and a session that it knows. */
interface Link {
  readonly address: string;
  readonly session: string;
}

/** These change nothing, so that a lost answer does no harm. */
const READ_ONLY = /^[A-Za-z_]+\.(get_[A-Za-z_]+|from)$/;
/** The request has not left this machine. */
const UNSENT = ["ECONNREFUSED", "ENOTFOUND", "EAI_AGAIN", "EHOSTUNREACH", "ENETUNREACH"];

/**
 * A session with the master of a pool, whichever host that is. The first call that notices that the session has ended, or
 * the master has gone, finds both again, and everybody who waits shares that. Logins are never tried side by side, and a
 * refused one is final: each costs a pause of 5 s on the server, and accounts lock.
 */
export class PoolSession implements AsyncDisposable {
  readonly #members: Members;
  readonly #credentials: Credentials;
  readonly #limits: XenLimits;
  readonly #logger: Logger;
  #link: Link | undefined;
  #opening: Promise<Link> | undefined;
  /** What to try first when there is no link. */
  #next: { readonly address: string; readonly session: string | undefined } | undefined;
  #refusal: AuthError | undefined;
  #keepAlive: NodeJS.Timeout | undefined;
  readonly #closing = new AbortController();

  constructor(members: Members, credentials: Credentials, limits: XenLimits, logger: Logger) {
    this.#members = members;
    this.#credentials = credentials;
    this.#limits = limits;
    this.#logger = logger;
  }

  /** @throws AuthError for wrong credentials, UnreachableError when no master can be found */
  async open(signal: AbortSignal): Promise<void> {
    await this.#linked(signal);
    this.#keepAlive = setInterval(() => void this.#touch(), this.#limits.keepAliveMs);
    // An open session alone must not keep the process running.
    this.#keepAlive.unref();
  }

  /** The session as it is now: valid a moment ago. */
  async reference(signal: AbortSignal): Promise<string> {
    // The call notices when it has ended.
    await this.call("session.get_uuid", [], { signal }, "itself");
    return (await this.#linked(signal)).session;
  }

  /** The address of the host that is the master as far as is known. */
  get master(): string | undefined {
    return this.#link?.address;
  }

  /**
   * @param about "itself": the session is the call's subject as well, which is put in twice
   * @throws XapiFault, UnreachableError
   */
  async call(
    method: string,
    args: readonly XapiValue[],
    options: RpcOptions,
    about: "something" | "itself" = "something",
  ): Promise<XapiValue> {
    for (let repeats = 0; ; repeats++) {
      const link = await this.#linked(options.signal);
      const params = [link.session, ...(about === "itself" ? [link.session] : []), ...args];
      try {
        return await this.#members.call(link.address, method, params, options);
      } catch (error) {
        options.signal.throwIfAborted();
        if (!this.#isRemedied(error, link, method)) throw error;
        if (repeats >= this.#limits.repeatsMax) throw lost(error);
      }
    }
  }

  /** Gives up the link where the failure is its fault. @returns whether the same call may be made again */
  #isRemedied(error: unknown, link: Link, method: string): boolean {
    if (error instanceof XapiFault && error.is("SESSION_INVALID")) {
      this.#drop(link, { address: link.address, session: undefined });
      return true;
    }
    if (error instanceof XapiFault && error.is("HOST_IS_SLAVE")) {
      this.#drop(link, { address: error.params[0] ?? link.address, session: link.session });
      return true;
    }
    if (!(error instanceof UnreachableError) || !error.retryable) return false;
    this.#drop(link, link);
    return READ_ONLY.test(method) || isUnsent(error);
  }

  #drop(link: Link, next: { readonly address: string; readonly session: string | undefined }): void {
    if (this.#link !== link) return;
    this.#link = undefined;
    this.#next = next;
  }

  async #linked(signal: AbortSignal): Promise<Link> {
    signal.throwIfAborted();
    if (this.#link !== undefined) return this.#link;
    this.#closing.signal.throwIfAborted();
    this.#opening ??= this.#establish().finally(() => {
      this.#opening = undefined;
    });
    return await unlessAborted(this.#opening, signal);
  }

  /** Asks the members one after the other who is the master, and logs in there. */
  async #establish(): Promise<Link> {
    const { openMs } = this.#limits;
    const late = (): UnreachableError =>
      new UnreachableError(`No master of the pool was found within ${openMs / 1000} s`);
    // Not the first waiter's signal: if it gives up, the others still need the link.
    const signal = AbortSignal.any([deadline(openMs, late), this.#closing.signal]);
    const next = this.#next;
    const line = [...(next === undefined ? [] : [next.address]), ...this.#members.addresses];
    const tried = new Set<string>();
    let failure: unknown;
    for (let address = line.shift(); address !== undefined; address = line.shift()) {
      if (tried.has(address) || tried.size >= this.#limits.membersMax) continue;
      tried.add(address);
      try {
        const link = await this.#enter(address, next?.session, signal);
        this.#link = link;
        if (next !== undefined) this.#logger.info("Logged in to the pool again", { master: address });
        return link;
      } catch (error) {
        if (error instanceof XapiFault && error.is("HOST_IS_SLAVE")) {
          this.#logger.debug("This host is not the master", { host: address, master: error.params[0] });
          line.unshift(error.params[0] ?? address);
        } else if (!mayPass(error) || signal.aborted) throw error;
        failure = failure === undefined || isFinal(error) ? error : failure;
      }
    }
    throw failure instanceof XapiFault ? noMaster(failure) : failure;
  }

  async #enter(address: string, session: string | undefined, signal: AbortSignal): Promise<Link> {
    // It lives in the pool's database, which may have outlived the master; a second login would leave the first behind.
    if (session !== undefined && (await this.#isKnown(address, session, signal))) return { address, session };
    return { address, session: await this.#logIn(address, signal) };
  }

  async #isKnown(address: string, session: string, signal: AbortSignal): Promise<boolean> {
    try {
      await this.#members.call(address, "session.get_uuid", [session, session], { signal });
      return true;
    } catch (error) {
      if (error instanceof XapiFault && error.is("SESSION_INVALID", "HANDLE_INVALID")) return false;
      throw error;
    }
  }

  async #logIn(address: string, signal: AbortSignal): Promise<string> {
    if (this.#refusal !== undefined) throw this.#refusal;
    const { user, password } = this.#credentials;
    // The oldest sessions of one originator are ended when there are too many: ours must not be mixed with others'.
    const originator = `vmmount/${hostname()}`;
    try {
      const params = [user, password, "1.1", originator];
      return toText(await this.#members.call(address, "session.login_with_password", params, { signal }), "a session");
    } catch (error) {
      if (!(error instanceof XapiFault) || error.is("HOST_IS_SLAVE", "HOST_STILL_BOOTING")) throw error;
      const translated = translateFault(error, `Cannot log in to ${this.#members.origin(address)} as "${user}"`);
      if (translated instanceof AuthError) this.#refusal = translated;
      throw translated;
    }
  }

  async #touch(): Promise<void> {
    try {
      const late = (): UnreachableError => new UnreachableError("Keeping the session alive took too long");
      await this.call("session.get_uuid", [], { signal: deadline(this.#limits.callMs, late) }, "itself");
    } catch (error) {
      // The next real call meets the same trouble and reports it where it matters.
      this.#logger.debug("Cannot keep the session alive", { error: String(error) });
    }
  }

  /** Logs out, best effort: an unreachable server forgets the session by itself. */
  async [Symbol.asyncDispose](): Promise<void> {
    clearInterval(this.#keepAlive);
    const { logoutMs } = this.#limits;
    // A login under way would leave a session behind.
    await Promise.race([this.#opening?.catch(() => undefined), delay(logoutMs, undefined, { ref: false })]);
    this.#closing.abort(new UnreachableError("The connection was closed on our side"));
    // After a lost connection the session still lives.
    const last = this.#link ?? this.#next;
    this.#link = undefined;
    const session = last?.session;
    if (last === undefined || session === undefined) return;
    const late = (): UnreachableError => new UnreachableError("Logging out took too long");
    const signal = deadline(logoutMs, late);
    const logOut = (address: string): Promise<XapiValue> =>
      this.#members.call(address, "session.logout", [session], { signal });
    try {
      await logOut(last.address).catch((error: unknown) => {
        const [master] = error instanceof XapiFault && error.is("HOST_IS_SLAVE") ? error.params : [];
        if (master === undefined) throw error;
        return logOut(master);
      });
    } catch (error) {
      this.#logger.debug("Cannot log out", { error: String(error) });
    }
  }
}

function isUnsent(error: UnreachableError): boolean {
  const { code, syscall } = (error.cause ?? {}) as NodeJS.ErrnoException;
  // A router may say so of a connection on which everything had been sent.
  if (syscall === "read" || syscall === "write") return false;
  return code !== undefined && UNSENT.includes(code);
}

/** Another member may do better. */
function mayPass(error: unknown): boolean {
  return error instanceof UnreachableError || (error instanceof XapiFault && error.is("HOST_STILL_BOOTING"));
}

/** Tells the user more than that some host does not answer. */
function isFinal(error: unknown): boolean {
  return error instanceof UnreachableError && !error.retryable;
}

function noMaster(fault: XapiFault): UnreachableError {
  const why = fault.is("HOST_STILL_BOOTING")
    ? "its hosts are still starting"
    : `its hosts do not agree who is: the last word was ${fault.params[0] ?? "none"}`;
  return new UnreachableError(`Cannot reach the master of the pool: ${why}`, { cause: fault });
}

/** The remedy worked each time, and the trouble came back: whoever repeats the whole may have more luck. */
function lost(error: unknown): unknown {
  if (!(error instanceof XapiFault)) return error;
  if (!error.is("SESSION_INVALID")) return noMaster(error);
  return new AuthError("Cannot use the session: the server refuses it right after the login", {
    cause: error,
    retryable: true,
  });
}
