import { AuthError, errorChain, VmmountError } from "../errors.js";
import type { Logger } from "../log.js";
import type { VddkLogin } from "./connection-params.js";
import { blamesLogin, vixCodeOf } from "./vix-error.js";

/** Who logs in, by password. */
export type PasswordLogin = Omit<VddkLogin, "secret" | "turn"> & { readonly password: string };

/**
 * The cookie of a login that the server knows, logged in anew where it knows it no longer; undefined where there is none.
 * @throws VmmountError when the server cannot be asked or refuses the login
 */
export type SessionCookie = (signal?: AbortSignal) => Promise<string | undefined>;

/**
 * How the library logs in: by the session that the daemon has already, so that the server counts one session and the process with
 * the library need not know the password; by the password where the server, or the library, does not take that. VMware documents
 * the first (its guide to the library, at VixDiskLib_ConnectEx, since 6.5), but not that every server takes it: it is tried.
 */
export class LibraryLogin {
  readonly #login: PasswordLogin;
  readonly #sessionCookie: SessionCookie | undefined;
  readonly #logger: Logger;
  #current: VddkLogin;
  /** This session has let the library in. */
  #hasWorked = false;
  #moving: Promise<boolean> | undefined;
  /** Told at once of another login. */
  onChange: (() => Promise<void>) | undefined;

  private constructor(login: PasswordLogin, sessionCookie: SessionCookie | undefined, logger: Logger) {
    this.#login = login;
    this.#sessionCookie = sessionCookie;
    this.#logger = logger;
    this.#current = this.#byPassword(0);
  }

  /** @param sessionCookie undefined to use the password from the start @throws the reason of the signal */
  static async begin(
    login: PasswordLogin,
    sessionCookie: SessionCookie | undefined,
    logger: Logger,
    signal?: AbortSignal,
  ): Promise<LibraryLogin> {
    const library = new LibraryLogin(login, sessionCookie, logger);
    const cookie = await library.#cookie(signal);
    if (cookie !== undefined) library.#current = library.#bySession(cookie, 0);
    logger.info(`VDDK logs in with the ${cookie === undefined ? "password" : "session that there is"}`);
    return library;
  }

  get current(): VddkLogin {
    return this.#current;
  }

  /** @param turn of the login that the library used */
  noteSuccess(turn: number): void {
    if (turn === this.#current.turn) this.#hasWorked = true;
  }

  /**
   * After a failure: goes on to a session that was begun since, or to the password, if the login may be why. A session that has
   * worked and is refused has ended: another one is asked for first.
   * @returns whether the library is worth asking once more
   */
  async moveOn(turn: number, error: unknown): Promise<boolean> {
    const code = error instanceof VmmountError ? vixCodeOf(error) : undefined;
    const isCurrent = turn === this.#current.turn;
    if (!blamesLogin(code, isCurrent && this.#hasWorked ? "has worked" : "is new")) return false;
    // Somebody else noticed before.
    if (!isCurrent) return true;
    if (this.#current.secret.kind === "password") return false;
    this.#moving ??= this.#move(errorChain(error)).finally(() => {
      this.#moving = undefined;
    });
    return await this.#moving;
  }

  /** For a process that replaces one that died: of the login, unless that has worked. */
  async renewAfterCrash(): Promise<void> {
    if (this.#current.secret.kind === "password") return;
    if (!this.#hasWorked) this.#usePassword("the library's process ended with it");
    else await this.#renew("the library's process ended");
  }

  async #move(reason: string): Promise<boolean> {
    if (this.#hasWorked) {
      const renewed = await this.#renew(reason);
      if (renewed !== "it is the same") return renewed === "renewed" && (await this.#changed());
    }
    this.#usePassword(reason);
    return await this.#changed();
  }

  async #renew(reason: string): Promise<"renewed" | "it is the same" | "failed"> {
    const { turn, secret } = this.#current;
    const cookie = await this.#cookie();
    if (cookie === undefined) return "failed";
    if (secret.kind === "session" && secret.cookie === cookie) return "it is the same";
    this.#current = this.#bySession(cookie, turn + 1);
    this.#hasWorked = false;
    this.#logger.info(`VDDK logs in with another session from now on: ${reason}`);
    return "renewed";
  }

  #usePassword(reason: string): void {
    this.#current = this.#byPassword(this.#current.turn + 1);
    this.#logger.info(`VDDK logs in with the password from now on, and not with the session: ${reason}`);
  }

  async #changed(): Promise<true> {
    // What cannot be told to a process that has died is told to the next one when it starts.
    await this.onChange?.().catch(() => undefined);
    return true;
  }

  /** A server that cannot be asked now lets in nobody else either, and a refused login is not repeated. */
  async #cookie(signal?: AbortSignal): Promise<string | undefined> {
    try {
      return await this.#sessionCookie?.(signal);
    } catch (error) {
      signal?.throwIfAborted();
      const what = error instanceof AuthError ? "The session has ended" : "The session cannot be looked at";
      this.#logger.warn(`${what}: ${errorChain(error)}`);
      return undefined;
    }
  }

  #bySession(cookie: string, turn: number): VddkLogin {
    return { ...this.#whereTo(), turn, secret: { kind: "session", cookie } };
  }

  #byPassword(turn: number): VddkLogin {
    return { ...this.#whereTo(), turn, secret: { kind: "password", password: this.#login.password } };
  }

  #whereTo(): Omit<PasswordLogin, "password"> {
    const { host, port, user, thumbprint, vm } = this.#login;
    return { host, port, user, thumbprint, vm };
  }
}
