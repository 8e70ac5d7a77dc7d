import { randomUUID } from "node:crypto";
import type { Database } from "./database/database.js";
import { XapiFault } from "./fault.js";
import { MovedTask } from "./moved-task.js";
import { xmlValue } from "./rpc/xml-values.js";
import { Double, newRef, type Value } from "./value.js";

/** Tasks that are kept; the oldest finished ones go first. */
const TASKS_MAX = 200;

/** Work that a client can watch: a call made with `Async.`, or a transfer. */
export interface PoolTask {
  readonly ref: string;
  /** Aborted by task.cancel; its reason is the fault TASK_CANCELLED. */
  readonly signal: AbortSignal;
  /** @param progress 0 to 1 */
  setProgress(progress: number): void;
}

interface Live {
  readonly controller: AbortController;
  isWorking: boolean;
  /** Destroyed by its client while it was working. */
  isUnwanted: boolean;
}

export class PoolTasks {
  readonly #database: Database;
  readonly #live = new Map<string, Live>();
  readonly #running = new Set<Promise<void>>();

  constructor(database: Database) {
    this.#database = database;
  }

  /** Pending tasks by whether something works on them. */
  get pending(): { readonly working: readonly string[]; readonly idle: readonly string[] } {
    const refs = [...this.#live.keys()].filter((ref) => this.#isPending(ref));
    const isWorking = (ref: string): boolean => this.#live.get(ref)?.isWorking === true;
    return { working: refs.filter(isWorking), idle: refs.filter((ref) => !isWorking(ref)) };
  }

  /** A pending task that nothing works on yet. */
  create(label: string, description: string, hostRef: string): string {
    const ref = this.#database.create("task", {
      uuid: randomUUID(),
      name_label: label,
      name_description: description,
      allowed_operations: ["cancel", "destroy"],
      created: new Date(),
      resident_on: hostRef,
    });
    this.#live.set(ref, { controller: new AbortController(), isWorking: false, isUnwanted: false });
    this.#forgetOldest();
    return ref;
  }

  /** A task that is in no database: of a call that is waited for. */
  unseen(): PoolTask {
    return { ref: newRef(), signal: new AbortController().signal, setProgress: () => undefined };
  }

  /**
   * Works on a task to its end, which is written into it: the result as XML-RPC text, or the fault.
   * @throws XapiFault as the work does; MovedTask when another host goes on with it
   */
  async work(ref: string, run: (task: PoolTask) => Promise<Value>): Promise<Value> {
    const live = this.#live.get(ref);
    if (live === undefined) throw new XapiFault("HANDLE_INVALID", "task", ref);
    live.isWorking = true;
    const { signal } = live.controller;
    const setProgress = (progress: number): void => {
      if (this.#isPending(ref)) this.#database.update("task", ref, { progress: new Double(progress) });
    };
    try {
      signal.throwIfAborted();
      const value = await run({ ref, signal, setProgress });
      this.#finish(ref, { status: "success", result: value === "" ? "" : xmlValue(value) });
      return value;
    } catch (error) {
      live.isWorking = false;
      if (error instanceof MovedTask) throw error;
      const fault = XapiFault.of(signal.aborted ? signal.reason : error);
      this.fail(ref, fault);
      throw fault;
    } finally {
      if (live.isUnwanted) this.#forget(ref);
    }
  }

  /** Begins work that nobody waits for but the pool's end. */
  start(ref: string, run: (task: PoolTask) => Promise<Value>): void {
    // The client gets its answer before the work begins. The fault is in the task.
    const running = Promise.resolve()
      .then(() => this.work(ref, run))
      .then(
        () => undefined,
        () => undefined,
      );
    this.#running.add(running);
    void running.finally(() => this.#running.delete(running));
  }

  fail(ref: string, fault: XapiFault): void {
    const status = fault.code === "TASK_CANCELLED" ? "cancelled" : "failure";
    this.#finish(ref, { status, error_info: fault.description });
  }

  /** Without effect when the task has ended or cannot be cancelled. */
  cancel(ref: string): void {
    const row = this.#database.row("task", ref);
    const live = this.#live.get(ref);
    if (live === undefined || row["status"] !== "pending") return;
    if (!(row["allowed_operations"] as readonly string[]).includes("cancel")) return;
    const fault = new XapiFault("TASK_CANCELLED", ref);
    live.controller.abort(fault);
    if (!live.isWorking) this.fail(ref, fault);
  }

  /** At once when it has ended or nothing works on it; otherwise when it ends. */
  destroy(ref: string): void {
    this.#database.row("task", ref);
    const live = this.#live.get(ref);
    if (live?.isWorking === true && this.#isPending(ref)) live.isUnwanted = true;
    else this.#forget(ref);
  }

  /** A task's own fields, set by the client that made it. */
  finishAs(ref: string, status: string): void {
    this.#finish(ref, { status });
  }

  /** Cancels what can be, and waits for all work to end. */
  async close(): Promise<void> {
    for (const [ref, { controller }] of this.#live) controller.abort(new XapiFault("TASK_CANCELLED", ref));
    await Promise.allSettled([...this.#running]);
  }

  #isPending(ref: string): boolean {
    return this.#database.has("task", ref) && this.#database.text("task", ref, "status") === "pending";
  }

  #finish(ref: string, end: Readonly<Record<string, Value>>): void {
    if (!this.#isPending(ref)) return;
    this.#database.update("task", ref, {
      ...end,
      progress: new Double(1),
      finished: new Date(),
      allowed_operations: ["destroy"],
      current_operations: {},
    });
  }

  #forget(ref: string): void {
    this.#live.delete(ref);
    if (this.#database.has("task", ref)) this.#database.delete("task", ref);
  }

  #forgetOldest(): void {
    const rows = this.#database.rows("task");
    const finished = rows.filter(([, row]) => row["status"] !== "pending");
    for (const [ref] of finished.slice(0, Math.max(0, rows.length - TASKS_MAX))) this.#forget(ref);
  }
}
