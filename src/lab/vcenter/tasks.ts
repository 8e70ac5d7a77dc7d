import { setTimeout as sleep } from "node:timers/promises";
import type { Logger } from "../../log.js";
import { Fault, fault, localized } from "./faults.js";
import { managedObject, type ManagedObject, type ObjectSource } from "./objects.js";
import { data, moref, type Data, type Moref, type Value } from "./values.js";

/** Finished tasks that stay visible; the oldest go first. */
const FINISHED_MAX = 200;
/** Steps of progress that a task of a given duration shows. */
const PROGRESS_STEPS = 10;

export interface TaskRequest {
  /** `CreateSnapshot_Task` */
  readonly method: string;
  /** `VirtualMachine.createSnapshot` */
  readonly descriptionId: string;
  readonly entity: Moref;
  readonly entityName: string;
  readonly user: string;
  readonly cancelable: boolean;
  /** How long the task pretends to work before it has its effect. */
  readonly durationMs: number;
  /** The effect. @throws Fault as the task's error */
  readonly effect: () => Promise<Value | undefined>;
}

interface Task {
  readonly ref: Moref;
  readonly request: TaskRequest;
  readonly queueTime: Date;
  readonly abort: AbortController;
  readonly chainId: number;
  state: "queued" | "running" | "success" | "error";
  progress: number | undefined;
  startTime: Date | undefined;
  completeTime: Date | undefined;
  result: Value | undefined;
  error: Fault | undefined;
}

/** Long-running operations. One machine takes one at a time; a second one ends with TaskInProgress. */
export class Tasks implements ObjectSource {
  readonly #tasks = new Map<string, Task>();
  readonly #running = new Map<string, Task>();
  readonly #pending = new Set<Promise<void>>();
  readonly #changed: () => void;
  readonly #logger: Logger;
  #next = 1;

  constructor(changed: () => void, logger: Logger) {
    this.#changed = changed;
    this.#logger = logger;
  }

  /** Tasks that have not ended. */
  get running(): number {
    return this.#pending.size;
  }

  start(request: TaskRequest): Moref {
    const number = this.#next++;
    const task: Task = {
      ref: moref("Task", `task-${number}`),
      request,
      queueTime: new Date(),
      abort: new AbortController(),
      chainId: number,
      state: "queued",
      progress: undefined,
      startTime: undefined,
      completeTime: undefined,
      result: undefined,
      error: undefined,
    };
    this.#tasks.set(task.ref.ref, task);
    const run = this.#run(task);
    this.#pending.add(run);
    void run.finally(() => this.#pending.delete(run));
    return task.ref;
  }

  /** @throws Fault NotSupported when the task cannot be cancelled */
  cancel(ref: string): void {
    const task = this.#tasks.get(ref);
    if (task === undefined || task.state === "success" || task.state === "error") throw fault("InvalidState");
    if (!task.request.cancelable) throw fault("NotSupported");
    task.abort.abort();
  }

  recent(entity?: string): Moref[] {
    return [...this.#tasks.values()]
      .filter((task) => entity === undefined || task.request.entity.ref === entity)
      .slice(-10)
      .map((task) => task.ref);
  }

  /** `TaskInfo` of what happened to an entity, oldest first. */
  history(entity: string): Data[] {
    return [...this.#tasks.values()].filter((task) => task.request.entity.ref === entity).map(infoOf);
  }

  find(ref: string): ManagedObject | undefined {
    const task = this.#tasks.get(ref);
    return task === undefined ? undefined : managedObject(task.ref, { info: () => infoOf(task) });
  }

  /** Cancels what only waits, and waits for effects that have begun. */
  async close(): Promise<void> {
    for (const task of this.#tasks.values()) task.abort.abort();
    await Promise.allSettled([...this.#pending]);
  }

  async #run(task: Task): Promise<void> {
    const { entity } = task.request;
    // The client gets its answer before the task begins, as from a real server.
    await Promise.resolve();
    try {
      const other = this.#running.get(entity.ref);
      if (other !== undefined) throw fault("TaskInProgress", { task: other.ref });
      this.#running.set(entity.ref, task);
      task.state = "running";
      task.startTime = new Date();
      this.#changed();
      await this.#pretend(task);
      task.result = await task.request.effect();
      task.state = "success";
    } catch (error) {
      task.error = error instanceof Fault ? error : fault("SystemError", { reason: String(error) });
      if (!(error instanceof Fault)) this.#logger.error("A task of the lab failed", { error: String(error) });
      task.state = "error";
    } finally {
      if (this.#running.get(entity.ref) === task) this.#running.delete(entity.ref);
      task.completeTime = new Date();
      task.progress = undefined;
      this.#forgetOldest();
      this.#changed();
    }
  }

  async #pretend(task: Task): Promise<void> {
    const { durationMs } = task.request;
    for (let step = 0; step < PROGRESS_STEPS && durationMs > 0; step++) {
      task.progress = (100 * step) / PROGRESS_STEPS;
      this.#changed();
      try {
        await sleep(durationMs / PROGRESS_STEPS, undefined, { signal: task.abort.signal });
      } catch {
        throw fault("RequestCanceled");
      }
    }
  }

  #forgetOldest(): void {
    const finished = [...this.#tasks.values()].filter((task) => task.state === "success" || task.state === "error");
    for (const task of finished.slice(0, -FINISHED_MAX)) this.#tasks.delete(task.ref.ref);
  }
}

function infoOf(task: Task): Data {
  const { request } = task;
  return data("TaskInfo", {
    key: task.ref.ref,
    task: task.ref,
    name: request.method,
    descriptionId: request.descriptionId,
    entity: request.entity,
    entityName: request.entityName,
    state: task.state,
    cancelled: task.abort.signal.aborted,
    cancelable: request.cancelable && task.state !== "success" && task.state !== "error",
    error: task.error === undefined ? undefined : localized(task.error),
    result: task.result,
    progress: task.progress,
    reason: data("TaskReasonUser", { userName: request.user }),
    queueTime: task.queueTime,
    startTime: task.startTime,
    completeTime: task.completeTime,
    eventChainId: task.chainId,
  });
}
