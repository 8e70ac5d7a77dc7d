import { type ErrorFacts, VmmountError } from "../../errors.js";
import type { SessionStatus } from "../control-protocol.js";

/** What became of one VM of several; stable for `--json`. */
export interface VmOutcome {
  readonly vm: SessionStatus["vm"];
  readonly server: SessionStatus["server"];
  readonly directory: string;
  /** "done": mounted, its command run, and unmounted again. */
  readonly state: "mounted" | "done" | "failed";
  readonly session?: string;
  /** Of a VM that is mounted. */
  readonly status?: SessionStatus;
  readonly error?: ErrorFacts;
}

/**
 * How a command for several ends: well, with the code that all of them failed with, or as "partial".
 * @throws VmmountError when any failed
 */
export function throwIfAnyFailed(what: string, all: number, failures: readonly ErrorFacts[]): void {
  const [first] = failures;
  if (first === undefined) return;
  const isAllAlike = failures.length === all && failures.every(({ code }) => code === first.code);
  const only = failures.length === 1 ? `: ${first.message}` : "";
  throw new VmmountError(
    `Cannot ${what} ${failures.length} of ${all} VMs${only}`,
    isAllAlike ? first.name : "partial",
    { hint: failures.length === 1 ? first.hint : "The table tells why" },
  );
}
