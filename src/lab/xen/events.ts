import { hasClass } from "./database/classes.js";
import type { Change, Database } from "./database/database.js";
import { XapiFault } from "./fault.js";
import { SmallInt, type Value } from "./value.js";

/** Longest wait for events. */
const WAIT_MAX_MS = 3600_000;
/** XAPI gathers what happens within half a second into one answer; less is enough for a lab. */
const GATHER_MS = 20;

interface Subscription {
  /** Lower case; "*" for all. */
  readonly className: string;
  /** Undefined for every object of the class. */
  readonly ref: string | undefined;
}

export interface EventsWanted {
  readonly classes: readonly string[];
  /** Of the answer before; "" at the beginning. */
  readonly token: string;
  readonly timeoutMs: number;
  readonly signal: AbortSignal;
}

/**
 * What has happened since a token: at once if anything has, else when something does or the time is over.
 * @throws XapiFault EVENT_FROM_TOKEN_PARSE_FAILURE, EVENT_SUBSCRIPTION_PARSE_FAILURE, EVENTS_LOST
 */
export async function eventsFrom(database: Database, wanted: EventsWanted): Promise<Value> {
  const subscriptions = wanted.classes.map(parseSubscription);
  const since = wanted.token === "" ? 0 : parseToken(wanted.token);
  const deadline = Date.now() + Math.min(Math.max(wanted.timeoutMs, 0), WAIT_MAX_MS);
  for (;;) {
    const generation = database.generation;
    const changes = database.changesSince(since);
    if (changes === undefined) throw new XapiFault("EVENTS_LOST");
    const fitting = changes.filter((change) => fits(change, subscriptions, database));
    const isOver = Date.now() >= deadline || wanted.signal.aborted;
    if (fitting.length > 0 || isOver || wanted.token === "") {
      return answer(database, fitting, { generation, subscriptions });
    }
    await somethingHappens(database, generation, deadline - Date.now(), wanted.signal);
  }
}

export function eventToken(generation: number): string {
  const number = String(generation).padStart(20, "0");
  return `${number},${number}`;
}

function parseToken(token: string): number {
  const match = /^(\d{1,20}),(\d{1,20})$/.exec(token);
  if (match === null) throw new XapiFault("EVENT_FROM_TOKEN_PARSE_FAILURE", token);
  return Number(match[1]);
}

function parseSubscription(text: string): Subscription {
  const [className = "", ref, ...rest] = text.split("/");
  if (className === "" || rest.length > 0) throw new XapiFault("EVENT_SUBSCRIPTION_PARSE_FAILURE", text);
  return { className: className.toLowerCase(), ref };
}

function fits(change: Change, subscriptions: readonly Subscription[], database: Database): boolean {
  if (change.className === "session" || !hasClass(change.className, database.profile.name)) return false;
  const name = change.className.toLowerCase();
  return subscriptions.some(
    ({ className, ref }) => (className === "*" || className === name) && (ref === undefined || ref === change.ref),
  );
}

interface AnswerFacts {
  readonly generation: number;
  readonly subscriptions: readonly Subscription[];
}

function answer(database: Database, changes: readonly Change[], { generation, subscriptions }: AnswerFacts): Value {
  const counts = Object.entries(database.counts()).filter(([name]) =>
    subscriptions.some(({ className }) => className === "*" || className === name.toLowerCase()),
  );
  return {
    events: changes.map(({ kind, className, ref }, index) => ({
      id: String(generation + index),
      timestamp: "0.0",
      class: className.toLowerCase(),
      operation: kind,
      ref,
      ...(kind === "del" ? {} : { snapshot: database.record(className, ref) }),
    })),
    valid_ref_counts: Object.fromEntries(counts.map(([name, count]) => [name.toLowerCase(), new SmallInt(count)])),
    token: eventToken(generation),
  };
}

function somethingHappens(database: Database, generation: number, waitMs: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    let gathering: NodeJS.Timeout | undefined;
    const finish = (): void => {
      forget();
      signal.removeEventListener("abort", finish);
      clearTimeout(waiting);
      clearTimeout(gathering);
      resolve();
    };
    const waiting = setTimeout(finish, waitMs);
    const forget = database.onChange(() => {
      gathering ??= setTimeout(finish, GATHER_MS);
    });
    signal.addEventListener("abort", finish);
    if (database.generation !== generation || signal.aborted) finish();
  });
}
