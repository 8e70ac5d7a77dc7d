import { createHash, randomUUID, timingSafeEqual } from "node:crypto";
import type { Database } from "./database/database.js";
import { XapiFault } from "./fault.js";
import type { Role } from "./roles.js";
import { newRef, NULL_REF } from "./value.js";

/** Sessions of one originator, or of one user who names none; the one that idled longest goes first. */
const SESSIONS_PER_OWNER_MAX = 500;

export interface PoolUser {
  readonly password: string;
  readonly role: Role;
}

export interface PoolSession {
  readonly ref: string;
  readonly user: string;
  readonly role: Role;
  readonly originator: string;
  lastActiveMs: number;
}

/** Who is logged in: the same on every host of the pool. */
export class PoolSessions {
  readonly #database: Database;
  readonly #users: ReadonlyMap<string, PoolUser>;
  readonly #idleMs: () => number;
  readonly #sessions = new Map<string, PoolSession>();

  constructor(database: Database, users: ReadonlyMap<string, PoolUser>, idleMs: () => number) {
    this.#database = database;
    this.#users = users;
    this.#idleMs = idleMs;
  }

  /** @throws XapiFault SESSION_AUTHENTICATION_FAILED */
  login(user: string, password: string, originator: string, hostRef: string): PoolSession {
    const known = this.#users.get(user);
    if (known === undefined || !isSame(password, known.password)) {
      throw new XapiFault("SESSION_AUTHENTICATION_FAILED", user, "Authentication failure");
    }
    const ref = newRef();
    const session: PoolSession = { ref, user, role: known.role, originator, lastActiveMs: Date.now() };
    this.#makeRoom(session);
    this.#sessions.set(ref, session);
    const now = new Date();
    this.#database.create(
      "session",
      {
        uuid: randomUUID(),
        this_host: hostRef,
        this_user: NULL_REF,
        last_active: now,
        validation_time: now,
        is_local_superuser: this.isSuperuser(session),
        auth_user_name: user,
        originator,
      },
      ref,
    );
    return session;
  }

  /** The host's own root, whom no role limits. */
  isSuperuser({ user }: Pick<PoolSession, "user">): boolean {
    return user === "root";
  }

  /** A session that is open, its idle time counted anew. @throws XapiFault SESSION_INVALID */
  use(ref: string): PoolSession {
    this.#sweep();
    const session = this.#sessions.get(ref);
    if (session === undefined) throw new XapiFault("SESSION_INVALID", ref);
    session.lastActiveMs = Date.now();
    return session;
  }

  isOpen(ref: string): boolean {
    this.#sweep();
    return this.#sessions.has(ref);
  }

  get size(): number {
    return this.#sessions.size;
  }

  end(ref: string): void {
    if (this.#sessions.delete(ref)) this.#database.delete("session", ref);
  }

  endAll(): void {
    for (const ref of [...this.#sessions.keys()]) this.end(ref);
  }

  #makeRoom({ user, originator }: PoolSession): void {
    const owned = [...this.#sessions.values()].filter((one) =>
      originator === "" ? one.originator === "" && one.user === user : one.originator === originator,
    );
    owned.sort((a, b) => a.lastActiveMs - b.lastActiveMs);
    for (const { ref } of owned.slice(0, Math.max(0, owned.length + 1 - SESSIONS_PER_OWNER_MAX))) this.end(ref);
  }

  #sweep(): void {
    const oldest = Date.now() - this.#idleMs();
    for (const { ref, lastActiveMs } of [...this.#sessions.values()]) if (lastActiveMs < oldest) this.end(ref);
  }
}

/** Comparing hashes takes the same time for every guess. */
function isSame(given: string, wanted: string): boolean {
  const [a, b] = [given, wanted].map((text) => createHash("sha256").update(text).digest());
  return a !== undefined && b !== undefined && timingSafeEqual(a, b);
}
