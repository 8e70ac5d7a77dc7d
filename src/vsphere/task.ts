import { setTimeout as delay } from "node:timers/promises";
import { unwrapAbort } from "../errors.js";
import type { TaskOptions } from "../hypervisor.js";
import type { Logger } from "../log.js";
import { retry } from "../retry.js";
import { child, childrenNamed, descend, integerAt, textAt, toMoRef } from "./element.js";
import { translateFault } from "./fault-errors.js";
import { parseMethodFault, SoapFault } from "./faults.js";
import type { VsphereLimits } from "./limits.js";
import type { PropertyCollector } from "./property-collector.js";
import {
  cancelTask,
  createFilter,
  createPropertyCollector,
  destroyPropertyCollector,
  waitForUpdatesEx,
} from "./requests.js";
import type { Session, SoapCall } from "./session.js";
import type { MoRef } from "./soap-message.js";
import type { XmlElement } from "./xml.js";

export interface TaskWait extends TaskOptions {
  readonly what: string;
  /** What an abort does to the task on the server. */
  readonly onAbort: "cancel" | "leave";
}

/** A task goes on without us: a restart of the management service or a short outage must not lose its result. */
const LOST_SERVER = { retriesMax: 6, delayMs: 2_000, delayMsMax: 20_000 };

/** Waits for tasks of the server: held calls where it can, polls where it cannot. */
export class TaskWaiter {
  readonly #session: Session;
  readonly #properties: PropertyCollector;
  readonly #limits: VsphereLimits;
  readonly #logger: Logger;

  constructor(session: Session, properties: PropertyCollector, limits: VsphereLimits, logger: Logger) {
    this.#session = session;
    this.#properties = properties;
    this.#limits = limits;
    this.#logger = logger;
  }

  /**
   * @returns the task's result, absent for tasks without one
   * @throws SoapFault with the task's fault, or ManagedObjectNotFound when the server has forgotten the task
   */
  async result(task: MoRef, wait: TaskWait): Promise<XmlElement | undefined> {
    return finished(await this.#end(task, wait));
  }

  /**
   * Waits until the task has ended, well or badly.
   * @throws SoapFault when that cannot be seen: ManagedObjectNotFound when the server has forgotten the task
   */
  async settled(task: MoRef, wait: TaskWait): Promise<void> {
    await this.#end(task, wait);
  }

  /** The task's info once it has ended. */
  async #end(task: MoRef, wait: TaskWait): Promise<XmlElement> {
    try {
      const attempt = async (): Promise<XmlElement> =>
        passing(wait.what, async () => (await this.#poll(task, wait)) ?? (await this.#watch(task, wait)));
      return await retry(attempt, {
        policy: LOST_SERVER,
        signal: wait.signal,
        onRetry: (error) => {
          this.#logger.warn(`Lost the server while it works on "${wait.what}", asking again`, { error: error.message });
        },
      });
    } catch (error) {
      if (wait.signal.aborted && wait.onAbort === "cancel") await this.#cancel(task);
      throw unwrapAbort(error);
    }
  }

  /** Most tasks are short: one read often saves setting up a filter. */
  async #poll(task: MoRef, wait: TaskWait): Promise<XmlElement | undefined> {
    const { values } = await this.#properties.ofObject(task, ["info"], wait.signal);
    return ended(values.get("info"), wait);
  }

  async #watch(task: MoRef, wait: TaskWait): Promise<XmlElement> {
    try {
      return await this.#session.run((call) => this.#waitForUpdates(call, task, wait), wait.signal);
    } catch (error) {
      // Not every server, account or moment has a collector to spare; the task itself tells as well.
      if (!(error instanceof SoapFault)) throw error;
      this.#logger.debug("Cannot be told of the task's end, asking now and then", { fault: error.fault });
    }
    for (;;) {
      await delay(this.#limits.taskPollMs, undefined, { signal: wait.signal });
      const info = await this.#poll(task, wait);
      if (info !== undefined) return info;
    }
  }

  /** On a collector of its own: filters of waits that run side by side must not mix. */
  async #waitForUpdates(call: SoapCall, task: MoRef, wait: TaskWait): Promise<XmlElement> {
    const { signal } = wait;
    const made = await call(createPropertyCollector(this.#session.content.propertyCollector), { signal });
    const collector = toMoRef(child(made, "returnval"));
    try {
      await call(createFilter(collector, { type: "Task", paths: ["info"] }, task), { signal });
      const { waitSeconds, waitMarginMs } = this.#limits;
      for (let version = ""; ;) {
        const heldMs = waitSeconds * 1000 + waitMarginMs;
        const response = await call(waitForUpdatesEx(collector, version, waitSeconds), { signal, heldMs });
        const updates = child(response, "returnval");
        version = textAt(updates, "version") ?? version;
        const info = ended(latestInfo(updates), wait);
        if (info !== undefined) return info;
      }
    } finally {
      const late = AbortSignal.timeout(this.#limits.logoutMs);
      // Ends with the session anyway.
      await call(destroyPropertyCollector(collector), { signal: late }).catch(() => undefined);
    }
  }

  /** Stops the task and waits until it has settled, within a bound: what follows is the caller's clean-up. */
  async #cancel(task: MoRef): Promise<void> {
    const signal = AbortSignal.timeout(this.#limits.cancelMs);
    const wait: TaskWait = { signal, what: "Cancelling", onAbort: "leave" };
    try {
      // A task that cannot be cancelled faults here and still has to be waited for.
      await this.#session.call(cancelTask(task), { signal }).catch((error: unknown) => {
        this.#logger.debug("Cannot cancel the task", { task: task.id, error: String(error) });
      });
      if ((await this.#poll(task, wait)) === undefined) await this.#watch(task, wait);
    } catch (error) {
      this.#logger.debug("Cannot wait for the end of the cancelled task", { task: task.id, error: String(error) });
    }
  }
}

/** What says nothing of the task's end, and may pass, is no reason to lose sight of it. */
async function passing<T>(what: string, look: () => Promise<T>): Promise<T> {
  try {
    return await look();
  } catch (error) {
    const translated = error instanceof SoapFault ? translateFault(error, what) : undefined;
    throw translated?.retryable === true ? translated : error;
  }
}

/** The last value of `info` in an UpdateSet: servers may report one object several times. */
function latestInfo(updates: XmlElement | undefined): XmlElement | undefined {
  return childrenNamed(updates, "filterSet")
    .flatMap((filter) => childrenNamed(filter, "objectSet"))
    .flatMap((object) => childrenNamed(object, "changeSet"))
    .filter((change) => textAt(change, "name") === "info")
    .map((change) => child(change, "val"))
    .at(-1);
}

/** The task's info once it has ended; reports progress until then. */
function ended(info: XmlElement | undefined, wait: TaskWait): XmlElement | undefined {
  const state = textAt(info, "state");
  if (state === "success" || state === "error") return info;
  if (info !== undefined) wait.onProgress?.({ percent: integerAt(info, "progress"), what: wait.what });
  return undefined;
}

function finished(info: XmlElement): XmlElement | undefined {
  if (textAt(info, "state") === "error") throw parseMethodFault(descend(info, "error") ?? info);
  return child(info, "result");
}
