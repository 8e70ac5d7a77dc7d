import type { Logger } from "../log.js";
import { symbolOf, VDDK_FUNCTIONS, type VddkFunctionName } from "./functions.js";
import { vixError, VIX_ASYNC, VIX_OK } from "./vix-error.js";

/** Which calls of the library anybody wants to read of: what nobody reads is not even measured. */
export type LoggedCalls = "none" | "debug" | "trace";

export function loggedCalls(logger: Logger): LoggedCalls {
  if (!logger.isEnabled("debug")) return "none";
  return logger.isEnabled("trace") ? "trace" : "debug";
}

export type NoteCall = (level: "debug" | "trace", text: string) => void;

/** Tells which function was called, how long that took and what it answered; never with what, which may be a secret. */
export class CallLog {
  readonly #logged: LoggedCalls;
  readonly #note: NoteCall;

  private constructor(logged: LoggedCalls, note: NoteCall) {
    this.#logged = logged;
    this.#note = note;
  }

  /** Undefined when nothing is to be measured. */
  static for(logged: LoggedCalls, note: NoteCall): CallLog | undefined {
    return logged === "none" ? undefined : new CallLog(logged, note);
  }

  /** @param began by performance.now() */
  returned(name: VddkFunctionName, began: number, result: unknown): void {
    this.#tell(name, began, VDDK_FUNCTIONS[name].result === "uint64_t" ? answer(result as number | bigint) : "");
  }

  /** The callback of an asynchronous request was called. */
  completed(name: VddkFunctionName, began: number, code: number): void {
    this.#tell(name, began, `, done${answer(code)}`);
  }

  #tell(name: VddkFunctionName, began: number, what: string): void {
    const { logged } = VDDK_FUNCTIONS[name];
    if (logged === "trace" && this.#logged !== "trace") return;
    this.#note(logged, `${symbolOf(name)}: ${(performance.now() - began).toFixed(1)} ms${what}`);
  }
}

function answer(result: number | bigint): string {
  const { code } = vixError(result);
  if (code === VIX_OK) return "";
  return code === VIX_ASYNC ? ", queued" : `, VDDK error ${code}`;
}
