import type { Session } from "./sessions.js";
import type { Data } from "./values.js";

/** Unfinished retrievals of one session; the oldest is dropped first. */
const PAGES_MAX = 100;

interface Kept {
  readonly rest: readonly Data[];
  readonly limit: number;
}

/** What is left of retrievals that did not fit into one page. A token is good once, in its own session. */
export class Pages {
  readonly #bySession = new Map<string, Map<string, Kept>>();
  #next = 1;

  keep(session: Session, rest: readonly Data[], limit: number): string {
    const own = this.#bySession.get(session.key) ?? new Map<string, Kept>();
    this.#bySession.set(session.key, own);
    const [oldest] = own.keys();
    if (own.size >= PAGES_MAX && oldest !== undefined) own.delete(oldest);
    const token = String(this.#next++);
    own.set(token, { rest, limit });
    return token;
  }

  take(session: Session, token: string): Kept | undefined {
    const own = this.#bySession.get(session.key);
    const kept = own?.get(token);
    own?.delete(token);
    return kept;
  }

  endSession(key: string): void {
    this.#bySession.delete(key);
  }
}
