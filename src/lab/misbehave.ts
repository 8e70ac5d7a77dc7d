import type { ServerResponse } from "node:http";
import { setTimeout as sleep } from "node:timers/promises";
import type { Holds } from "./holds.js";
import { sendPage } from "./http-request.js";
import type { RuleAction } from "./rules.js";

export interface Misbehaviour {
  readonly response: ServerResponse;
  readonly actions: readonly RuleAction[];
  readonly signal: AbortSignal;
  readonly holds: Holds;
  readonly expireSessions: () => void;
}

/**
 * Does what rules want done before a request is answered, in the order of the rules.
 * @returns false when the request has had its answer, or will never get one
 */
export async function misbehave({ response, actions, signal, holds, expireSessions }: Misbehaviour): Promise<boolean> {
  for (const action of actions) {
    switch (action.kind) {
      case "delay":
        await sleep(action.ms, undefined, { signal }).catch(() => undefined);
        break;
      case "hold":
        if (action.when === "before") await holds.hold(signal);
        break;
      case "hang":
        return false;
      case "status":
        sendPage(response, action.status, "Service Unavailable");
        return false;
      case "expireSessions":
        expireSessions();
        break;
      case "drop":
        if (action.when === "before") {
          response.destroy();
          return false;
        }
        break;
      default:
        break;
    }
    if (signal.aborted) return false;
  }
  return true;
}

/**
 * Does what rules want done between the effect of a request and its answer.
 * @returns false when it gets none: the connection is cut
 */
export async function mayAnswer({
  response,
  actions,
  signal,
  holds,
}: Omit<Misbehaviour, "expireSessions">): Promise<boolean> {
  for (const action of actions) {
    if (action.kind === "hold" && action.when === "after") await holds.hold(signal);
  }
  const isDropped = actions.some((action) => action.kind === "drop" && action.when === "after");
  if (!isDropped && !signal.aborted) return true;
  response.destroy();
  return false;
}
