import type { ErrorFacts } from "../errors.js";
import type { ExitName } from "../exit-codes.js";

/** ok: as it should be; warn: works, but look at it; fail: a mount will fail; skip: not asked, and the text says why. */
export type FindingState = "ok" | "warn" | "fail" | "skip";

/** The answer to one question. */
export interface Finding {
  /** The same from release to release, for programs: `host.fuse`, `vm.privilege.Datastore.Browse@datastore`. */
  readonly id: string;
  readonly state: FindingState;
  /** One plain sentence without a final full stop. */
  readonly text: string;
  /** What to do about it. */
  readonly hint?: string | undefined;
  /** How a command fails that meets this; present with "fail" only. */
  readonly exit?: ExitName | undefined;
}

export function ok(id: string, text: string): Finding {
  return { id, state: "ok", text };
}

export function warn(id: string, text: string, hint?: string): Finding {
  return { id, state: "warn", text, hint };
}

export function skip(id: string, text: string, hint?: string): Finding {
  return { id, state: "skip", text, hint };
}

export function fail(id: string, exit: ExitName, text: string, hint?: string): Finding {
  return { id, state: "fail", text, hint, exit };
}

/** An error of a question is its answer. */
export function failed(id: string, { name, message, hint }: ErrorFacts): Finding {
  return fail(id, name, message, hint);
}
