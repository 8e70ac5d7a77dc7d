import type { ServerResponse } from "node:http";
import { setTimeout as sleep } from "node:timers/promises";
import { sendPage } from "./http-request.js";
import type { RuleAction } from "./rules.js";

export interface Misbehaviour {
  readonly response: ServerResponse;
  readonly actions: readonly RuleAction[];
  readonly signal: AbortSignal;
  readonly expireSessions: () => void;
}

/**
 * Does what rules want done before a request is answered, in the order of the rules.
 * @returns false when the request has had its answer, or will never get one
 */
export async function misbehave({ response, actions, signal, expireSessions }: Misbehaviour): Promise<boolean> {
  for (const action of actions) {
    switch (action.kind) {
      case "delay":
        await sleep(action.ms, undefined, { signal }).catch(() => undefined);
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

export function dropsAnswer(actions: readonly RuleAction[]): boolean {
  return actions.some((action) => action.kind === "drop" && action.when === "after");
}
