import type { ServerHealth } from "../health.js";
import { type Finding, ok, warn } from "./finding.js";

/** Beyond a minute, log lines of both sides no longer tell one story, and certificates may count as not valid yet. */
const SKEW_SECONDS_MAX = 60;

/** The server's clock against ours; half of the time that the question took is the server's answer's age. */
export async function checkClock(health: ServerHealth, signal: AbortSignal): Promise<Finding> {
  const before = Date.now();
  const theirs = await health.clock({ signal });
  return judgeClock(theirs.getTime(), (before + Date.now()) / 2);
}

/** Both in milliseconds since the epoch. */
export function judgeClock(theirs: number, ours: number): Finding {
  const id = "server.clock";
  const seconds = Math.round((theirs - ours) / 1000);
  if (Number.isNaN(seconds)) return warn(id, "The server's time cannot be read");
  if (seconds === 0) return ok(id, "The server's clock and ours agree");
  const text = `The server's clock is ${Math.abs(seconds)} s ${seconds > 0 ? "ahead of" : "behind"} ours`;
  if (Math.abs(seconds) <= SKEW_SECONDS_MAX) return ok(id, text);
  return warn(id, text, "Let both be set by NTP");
}
