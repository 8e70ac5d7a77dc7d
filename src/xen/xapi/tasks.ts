import { randomBytes } from "node:crypto";
import { setTimeout as delay } from "node:timers/promises";
import { deadline } from "../../deadline.js";
import { UnreachableError, unwrapAbort } from "../../errors.js";
import type { Logger } from "../../log.js";
import { retry } from "../../retry.js";
import { XapiFault } from "./fault.js";
import { text, toText } from "./fields.js";
import type { XenLimits } from "./limits.js";
import type { PoolSession } from "./pool-session.js";
import { isRecord, type XapiRecord, type XapiValue } from "./value.js";
import type { TaskCall } from "./xapi.js";
import { parseTaskResult, toFault } from "./xmlrpc-message.js";

/** A task goes on without us: a restart of the toolstack or a short outage must not lose its result. */
const LOST_SERVER = { retriesMax: 6, delayMs: 2_000, delayMsMax: 20_000 };

/** A task that is watched, and removed in the end. */
export interface Task {
  readonly ref: string;
  /** @throws XapiFault with the task's error, or HANDLE_INVALID when the server has forgotten it */
  result(options: TaskCall): Promise<XapiValue>;
  /** Ends it and waits, within a bound, until it has settled; then removes it. Never throws. */
  cancel(): Promise<void>;
  /** Never throws. */
  remove(): Promise<void>;
}

/** Runs and watches the server's tasks: by events that it holds until something changes, or by asking now and then. */
export class Tasks {
  readonly #session: PoolSession;
  readonly #limits: XenLimits;
  readonly #logger: Logger;
  #hasEvents = true;

  constructor(session: PoolSession, limits: XenLimits, logger: Logger) {
    this.#session = session;
    this.#limits = limits;
    this.#logger = logger;
  }

  /** `Async.` + method. @throws XapiFault */
  async run(method: string, args: readonly XapiValue[], options: TaskCall): Promise<XapiValue> {
    options.signal.throwIfAborted();
    // Never given up half-way: without its answer the task could be neither cancelled nor waited for.
    const ref = await this.#session.call(`Async.${method}`, args, { signal: new AbortController().signal });
    return await this.#outcome(this.#task(toText(ref, "a task")), options);
  }

  /** A task of ours, for an HTTP handler to work on; an id behind its label makes it one of a kind. */
  async create(what: string, description: string, signal: AbortSignal): Promise<Task> {
    signal.throwIfAborted();
    const label = `${what} (${randomBytes(4).toString("hex")})`;
    try {
      // Never given up half-way: nobody would remove it, and one that nobody works on stays pending for a day.
      const ref = await this.#session.call("task.create", [label, description], {
        signal: new AbortController().signal,
      });
      return this.#task(toText(ref, "a task"));
    } catch (error) {
      if (error instanceof UnreachableError && error.retryable) await this.#removeUnheard(label);
      throw error;
    }
  }

  /** The server may have made the task all the same. Never throws. */
  async #removeUnheard(label: string): Promise<void> {
    const late = (): UnreachableError => new UnreachableError("Looking for the task took too long");
    try {
      const options = { signal: deadline(this.#limits.cancelMs, late) };
      const refs = await this.#session.call("task.get_by_name_label", [label], options);
      for (const ref of Array.isArray(refs) ? (refs as readonly XapiValue[]) : []) {
        const task = this.#task(toText(ref, "a task"));
        await task.cancel();
        await task.remove();
      }
    } catch (error) {
      this.#logger.debug("Cannot look for a task that may have been made", { label, error: String(error) });
    }
  }

  /** Waits for a task that somebody else has begun, and leaves it there. @throws XapiFault */
  async wait(ref: string, options: TaskCall): Promise<XapiValue> {
    return await this.#result(ref, options);
  }

  async #outcome(task: Task, options: TaskCall): Promise<XapiValue> {
    try {
      return await task.result(options);
    } catch (error) {
      if (options.signal.aborted && options.onAbort !== "leave") await task.cancel();
      throw unwrapAbort(error);
    } finally {
      await task.remove();
    }
  }

  #task(ref: string): Task {
    return {
      ref,
      result: (options) => this.#result(ref, options),
      cancel: () => this.#cancel(ref),
      remove: () => this.#remove(ref),
    };
  }

  async #result(ref: string, options: TaskCall): Promise<XapiValue> {
    const attempt = async (): Promise<XapiRecord> => (await this.#poll(ref, options)) ?? this.#watch(ref, options);
    const task = await retry(attempt, {
      policy: LOST_SERVER,
      signal: options.signal,
      isRetryable: (error) => error instanceof UnreachableError && error.retryable,
      onRetry: (error) => {
        this.#logger.warn(`Lost the server while it works on "${options.what}", asking again`, {
          error: error.message,
        });
      },
    });
    if (text(task, "status") === "success") return await parseTaskResult(text(task, "result"), "a task");
    const errors = task["error_info"];
    throw toFault(Array.isArray(errors) && errors.length > 0 ? errors : ["TASK_CANCELLED", ref]);
  }

  /** Most tasks are short: one look often saves the wait. */
  async #poll(ref: string, options: TaskCall): Promise<XapiRecord | undefined> {
    const record = await this.#session.call("task.get_record", [ref], { signal: options.signal });
    return ended(record, options);
  }

  async #watch(ref: string, options: TaskCall): Promise<XapiRecord> {
    for (let token = ""; ;) {
      const began = performance.now();
      const events = this.#hasEvents ? await this.#events(ref, token, options.signal) : undefined;
      const { taskPollMs, eventsApartMs } = this.#limits;
      const waitMs = events === undefined ? taskPollMs : eventsApartMs - (performance.now() - began);
      // Without news as well: the token may be of a master that is gone.
      const last = events?.records.at(-1);
      const task = last === undefined ? await this.#poll(ref, options) : ended(last, options);
      if (task !== undefined) return task;
      token = events?.token ?? "";
      if (waitMs > 0) await delay(waitMs, undefined, { signal: options.signal });
    }
  }

  /** @returns undefined when the server has no usable events */
  async #events(
    ref: string,
    token: string,
    signal: AbortSignal,
  ): Promise<{ readonly token: string; readonly records: readonly XapiRecord[] } | undefined> {
    const { waitSeconds, waitMarginMs } = this.#limits;
    const heldMs = waitSeconds * 1000 + waitMarginMs;
    try {
      const answer = await this.#session.call("event.from", [[`task/${ref}`], token, waitSeconds], { signal, heldMs });
      if (!isRecord(answer)) return undefined;
      const events = Array.isArray(answer["events"]) ? (answer["events"] as readonly XapiValue[]) : [];
      const records = events.filter(isRecord).filter((event) => event["ref"] === ref);
      return {
        token: text(answer, "token"),
        records: records.map((event) => event["snapshot"]).filter((record) => record !== undefined && isRecord(record)),
      };
    } catch (error) {
      if (!(error instanceof XapiFault) || error.is("SESSION_INVALID")) throw error;
      this.#logger.debug("The server has no usable events, asking for tasks now and then", { fault: error.code });
      this.#hasEvents = error.is("EVENT_FROM_TOKEN_PARSE_FAILURE");
      return undefined;
    }
  }

  /** What follows is the caller's clean-up, which needs a settled VM. */
  async #cancel(ref: string): Promise<void> {
    const late = (): UnreachableError => new UnreachableError("The cancelled task does not end");
    const signal = deadline(this.#limits.cancelMs, late);
    try {
      // A task that cannot be cancelled faults here and still has to be waited for.
      await this.#session.call("task.cancel", [ref], { signal }).catch((error: unknown) => {
        this.#logger.debug("Cannot cancel the task", { error: String(error) });
      });
      const options = { signal, what: "Cancelling" };
      if ((await this.#poll(ref, options)) === undefined) await this.#watch(ref, options);
    } catch (error) {
      this.#logger.debug("Cannot wait for the end of the cancelled task", { error: String(error) });
    }
  }

  async #remove(ref: string): Promise<void> {
    const late = (): UnreachableError => new UnreachableError("Removing the task took too long");
    try {
      await this.#session.call("task.destroy", [ref], { signal: deadline(this.#limits.logoutMs, late) });
    } catch (error) {
      // The server forgets ended tasks by itself.
      if (!(error instanceof XapiFault && error.is("HANDLE_INVALID"))) {
        this.#logger.debug("Cannot remove the task", { error: String(error) });
      }
    }
  }
}

/** The task once it has ended; reports progress until then. */
function ended(task: XapiValue, { onProgress, what }: TaskCall): XapiRecord | undefined {
  if (!isRecord(task)) return undefined;
  const status = text(task, "status");
  if (status === "success" || status === "failure" || status === "cancelled") return task;
  const progress = task["progress"];
  onProgress?.({ percent: typeof progress === "number" ? Math.round(progress * 100) : undefined, what });
  return undefined;
}
