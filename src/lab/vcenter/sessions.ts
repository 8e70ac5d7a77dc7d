import { createHash, randomBytes, randomUUID, timingSafeEqual } from "node:crypto";
import { fault } from "./faults.js";
import { data, type Data } from "./values.js";

/** The name of vSphere's session cookie; its value is a token in double quotes, which belong to the value. */
export const SESSION_COOKIE = "vmware_soap_session";

/** As vCenter's default of `maxSessionCount`: "Out of HTTP sessions: Limited to 2000". */
const SESSIONS_MAX = 2000;

export interface Session {
  readonly key: string;
  /** With its quotes, as it stands in the cookie. */
  readonly cookie: string;
  readonly user: string;
  readonly loginTime: Date;
  readonly address: string;
  readonly userAgent: string;
  lastActive: Date;
  calls: number;
}

export interface Client {
  readonly address: string;
  readonly userAgent: string;
}

/** Logins and who is logged in. A session ends by Logout, by TerminateSession or by idling. */
export class Sessions {
  readonly #users: ReadonlyMap<string, string>;
  readonly #sessions = new Map<string, Session>();
  readonly #tickets = new Map<string, string>();
  readonly #idleMs: () => number;
  readonly #listeners = new Set<(key: string) => void>();
  readonly #beginListeners = new Set<() => void>();

  /** @param users passwords by user name */
  constructor(users: ReadonlyMap<string, string>, idleMs: () => number) {
    this.#users = users;
    this.#idleMs = idleMs;
  }

  /** Told when a session has ended: views, filters and tokens go with it. */
  onEnd(listener: (key: string) => void): void {
    this.#listeners.add(listener);
  }

  /** Told of a session before its owner is. */
  onBegin(listener: () => void): void {
    this.#beginListeners.add(listener);
  }

  /** @throws Fault InvalidLogin */
  login(user: string, password: string, client: Client): Session {
    if (!this.isPassword(user, password)) throw fault("InvalidLogin");
    return this.#open(user, client);
  }

  /** User names have no case, as in a directory. Comparing hashes takes the same time for every guess. */
  isPassword(user: string, password: string): boolean {
    const known = [...this.#users].find(([name]) => name.toLowerCase() === user.toLowerCase())?.[1];
    return timingSafeEqual(sha256(password), sha256(known ?? randomUUID()));
  }

  /** The session of a cookie header, its idle time counted anew; undefined when there is none or it has ended. */
  find(cookieHeader: string | undefined): Session | undefined {
    this.#sweep();
    const cookie = /(?:^|;\s*)vmware_soap_session=([^;]*)/.exec(cookieHeader ?? "")?.[1]?.trim();
    // Go's cookie jar strips the quotes and its clients work with real servers, so those cannot insist on them.
    const quoted = cookie === undefined || cookie.startsWith('"') ? cookie : `"${cookie}"`;
    const session = [...this.#sessions.values()].find((candidate) => candidate.cookie === quoted);
    if (session === undefined) return undefined;
    session.lastActive = new Date();
    session.calls++;
    return session;
  }

  list(): Session[] {
    this.#sweep();
    return [...this.#sessions.values()];
  }

  get isFull(): boolean {
    return this.#sessions.size >= SESSIONS_MAX;
  }

  end(key: string): boolean {
    const ended = this.#sessions.delete(key);
    if (ended) for (const listener of this.#listeners) listener(key);
    return ended;
  }

  endAll(): void {
    for (const key of [...this.#sessions.keys()]) this.end(key);
  }

  ticketFor(session: Session): string {
    const ticket = `cst-VCT-${randomUUID()}--tp-${randomBytes(10).toString("hex").toUpperCase()}`;
    this.#tickets.set(ticket, session.user);
    return ticket;
  }

  /** @throws Fault InvalidLogin for a ticket that is unknown or used */
  redeem(ticket: string, client: Client): Session {
    const user = this.#tickets.get(ticket);
    if (user === undefined) throw fault("InvalidLogin");
    this.#tickets.delete(ticket);
    return this.#open(user, client);
  }

  #open(user: string, client: Client): Session {
    const now = new Date();
    const session: Session = {
      key: randomUUID().replace(/^.{8}/, "52000000"),
      cookie: `"${randomBytes(20).toString("hex")}"`,
      user,
      loginTime: now,
      lastActive: now,
      calls: 1,
      ...client,
    };
    this.#sessions.set(session.key, session);
    for (const listener of this.#beginListeners) listener();
    return session;
  }

  #sweep(): void {
    const oldest = Date.now() - this.#idleMs();
    for (const session of [...this.#sessions.values()]) {
      if (session.lastActive.getTime() < oldest) this.end(session.key);
    }
  }
}

function sha256(text: string): Buffer {
  return createHash("sha256").update(text).digest();
}

export function userSession(session: Session): Data {
  return data("UserSession", {
    key: session.key,
    userName: session.user,
    fullName: session.user.replace(/@.*/, ""),
    loginTime: session.loginTime,
    lastActiveTime: session.lastActive,
    locale: "en",
    messageLocale: "en",
    extensionSession: false,
    ipAddress: session.address,
    userAgent: session.userAgent,
    callCount: session.calls,
  });
}
