import type { VmmountError } from "../errors.js";
import { HypervisorFaultError, QuiesceError, SnapshotError, UnreachableError } from "../errors.js";
import type { Snapshot, SnapshotSpec, TaskOptions } from "../hypervisor.js";
import type { Logger } from "../log.js";
import { child, childrenNamed, textAt, toMoRef } from "./element.js";
import { translateFault } from "./fault-errors.js";
import { isMissingMethod, SoapFault } from "./faults.js";
import type { VsphereLimits } from "./limits.js";
import type { PropertyCollector } from "./property-collector.js";
import { createSnapshotExTask, createSnapshotTask, removeSnapshotTask } from "./requests.js";
import type { Session } from "./session.js";
import { parseSnapshotTree } from "./snapshot-tree.js";
import type { MoRef } from "./soap-message.js";
import type { TaskWaiter } from "./task.js";
import type { XmlElement } from "./xml.js";

export interface SnapshotParts {
  readonly session: Session;
  readonly properties: PropertyCollector;
  readonly tasks: TaskWaiter;
  readonly limits: VsphereLimits;
  readonly logger: Logger;
}

/** Tasks of others that may come between: after that the caller's own rules for a busy VM decide. */
const TURNS_MAX = 5;

/** Creates, lists and removes snapshots. */
export class Snapshots {
  readonly #parts: SnapshotParts;

  constructor(parts: SnapshotParts) {
    this.#parts = parts;
  }

  /** @throws SoapFault */
  async list(vm: MoRef, signal: AbortSignal): Promise<Snapshot[]> {
    const { values } = await this.#parts.properties.ofObject(vm, ["snapshot"], signal);
    return parseSnapshotTree(values.get("snapshot"));
  }

  /**
   * Creates a snapshot without memory. Its name must be unique: after a lost answer the snapshot is looked up by name
   * before the call is repeated, since a second one would never be removed.
   */
  async create(vm: MoRef, spec: SnapshotSpec, options: TaskOptions): Promise<Snapshot> {
    try {
      return await this.#create(vm, spec, options);
    } catch (error) {
      if (error instanceof SoapFault) throw snapshotError(error, vm, spec);
      throw error;
    }
  }

  async #create(vm: MoRef, spec: SnapshotSpec, options: TaskOptions): Promise<Snapshot> {
    let task: MoRef;
    try {
      task = await this.#start(vm, spec, options.signal);
    } catch (error) {
      if (!(error instanceof UnreachableError) || !error.retryable || options.signal.aborted) throw error;
      const made = await this.#afterLostAnswer(vm, spec.name, options);
      if (made !== undefined) return made;
      task = await this.#start(vm, spec, options.signal);
    }
    let ref: string | undefined;
    try {
      const what = `Creating snapshot "${spec.name}"`;
      ref = (await this.#parts.tasks.result(task, { ...options, what, onAbort: "cancel" }))?.text;
    } catch (error) {
      // Servers drop ended tasks after a while: the snapshot itself says how it went.
      if (!(error instanceof SoapFault && error.is("ManagedObjectNotFound"))) throw error;
    }
    const all = await this.list(vm, options.signal);
    const created = all.find((snapshot) => (ref === undefined ? snapshot.name === spec.name : snapshot.ref === ref));
    if (created === undefined) {
      throw new SnapshotError(`Cannot create a snapshot of ${vm.id}: the server reports success, but it is not there`);
    }
    return created;
  }

  /**
   * Quiescing goes through the newer call, which bounds how long the guest stays frozen, where the server has it. The
   * call answers at once and is never given up half-way: without its answer the task could be neither cancelled nor
   * waited for.
   */
  async #start(vm: MoRef, spec: SnapshotSpec, caller: AbortSignal): Promise<MoRef> {
    caller.throwIfAborted();
    const { session, limits, logger } = this.#parts;
    const { signal } = new AbortController();
    if (spec.quiesce) {
      try {
        const response = await session.call(createSnapshotExTask(vm, spec, limits.quiesceMinutes), { signal });
        return toMoRef(child(response, "returnval"));
      } catch (error) {
        if (!isMissingMethod(error)) throw error;
        logger.debug("The server has no CreateSnapshotEx_Task, using CreateSnapshot_Task");
      }
    }
    const response = await session.call(createSnapshotTask(vm, spec), { signal });
    return toMoRef(child(response, "returnval"));
  }

  /** The call may have arrived: waits for the VM's running snapshot tasks, then looks the snapshot up. */
  async #afterLostAnswer(vm: MoRef, name: string, options: TaskOptions): Promise<Snapshot | undefined> {
    this.#parts.logger.warn("Lost the answer to the snapshot call, looking for the snapshot before asking again", {
      name,
    });
    await this.settle(vm, options);
    return (await this.list(vm, options.signal)).find((snapshot) => snapshot.name === name);
  }

  /** Waits for the VM's running tasks that create snapshots: it may be one of ours whose outcome nobody has heard. */
  async settle(vm: MoRef, options: TaskOptions): Promise<void> {
    const creates = (task: XmlElement): boolean =>
      textAt(task, "descriptionId")?.startsWith("VirtualMachine.createSnapshot") === true;
    await this.#settleRunning(vm, creates, { ...options, what: "Creating snapshot" });
  }

  /** @returns whether there was one to wait for */
  async #settleRunning(
    vm: MoRef,
    isMeant: (task: XmlElement) => boolean,
    wait: TaskOptions & { readonly what: string },
  ): Promise<boolean> {
    const { properties, tasks } = this.#parts;
    let recent: MoRef[];
    let waited = false;
    try {
      const { values } = await properties.ofObject(vm, ["recentTask"], wait.signal);
      recent = childrenNamed(values.get("recentTask"), "ManagedObjectReference").map(toMoRef);
    } catch (error) {
      if (error instanceof SoapFault && error.is("ManagedObjectNotFound")) return false;
      throw error;
    }
    const query = [{ type: "Task", paths: ["info"] }];
    for (const { obj, values } of await properties.ofObjects(recent, query, wait.signal)) {
      const task = values.get("info");
      const isRunning = ["queued", "running"].includes(textAt(task, "state") ?? "");
      if (task === undefined || !isRunning || !isMeant(task)) continue;
      waited = true;
      // Its failure is not ours to report: what counts is how the VM is afterwards.
      await tasks.settled(obj, { ...wait, onAbort: "leave" }).catch((error: unknown) => {
        if (!(error instanceof SoapFault && error.is("ManagedObjectNotFound"))) throw error;
      });
    }
    return waited;
  }

  /** Removes one snapshot, and keeps its children. Absent = success. */
  async remove(snapshot: MoRef, options: TaskOptions): Promise<void> {
    const { properties, logger } = this.#parts;
    let vm: MoRef | undefined;
    try {
      const { values } = await properties.ofObject(snapshot, ["vm"], options.signal);
      const owner = values.get("vm");
      vm = owner === undefined ? undefined : toMoRef(owner);
      await this.#removeInTurn(snapshot, vm, options);
    } catch (error) {
      if (!(error instanceof SoapFault && error.is("ManagedObjectNotFound"))) throw error;
      logger.debug("The snapshot is gone", { snapshot: snapshot.id });
      if (vm !== undefined && (await this.#isListed(vm, snapshot, options.signal))) {
        const message = `Cannot remove snapshot ${snapshot.id}: the server lost the task, and the snapshot is still there`;
        throw new HypervisorFaultError(message, { fault: error.fault, retryable: true, cause: error });
      }
    }
  }

  /**
   * A VM takes one task at a time. What is in progress may be our own removal whose answer was lost, and a merge takes
   * longer than any number of repetitions: it is waited for.
   */
  async #removeInTurn(snapshot: MoRef, vm: MoRef | undefined, options: TaskOptions): Promise<void> {
    const { session, tasks, logger } = this.#parts;
    for (let turn = 1; ; turn++) {
      try {
        const response = await session.call(removeSnapshotTask(snapshot), { signal: options.signal });
        const task = toMoRef(child(response, "returnval"));
        // Half a merge is worse than a long one: the removal goes on when we stop waiting.
        await tasks.result(task, { ...options, what: "Removing snapshot", onAbort: "leave" });
        return;
      } catch (error) {
        const isBusy = error instanceof SoapFault && error.is("TaskInProgress");
        if (!isBusy || vm === undefined || turn >= TURNS_MAX) throw error;
        logger.debug("The VM is busy with another task, waiting for that first", { snapshot: snapshot.id });
        const wait = { ...options, what: "Waiting for another task of the VM" };
        if (!(await this.#settleRunning(vm, () => true, wait))) throw error;
      }
    }
  }

  /** A task that the server has forgotten faults like a snapshot that is gone. */
  async #isListed(vm: MoRef, snapshot: MoRef, signal: AbortSignal): Promise<boolean> {
    try {
      return (await this.list(vm, signal)).some(({ ref }) => ref === snapshot.id);
    } catch (error) {
      if (error instanceof SoapFault && error.is("ManagedObjectNotFound")) return false;
      throw error;
    }
  }
}

const QUIESCE_FAULTS = ["ApplicationQuiesceFault", "FilesystemQuiesceFault"];

function snapshotError(fault: SoapFault, vm: MoRef, spec: SnapshotSpec): VmmountError {
  const action = `Cannot create a snapshot of ${vm.id}`;
  const translated = translateFault(fault, action);
  // Missing privileges, licences and VMs are what they are, whatever was asked for.
  const isOwnKind = ["auth", "not-found"].includes(translated.exit) || fault.is("RestrictedVersion");
  if (isOwnKind) return translated;
  const options = { cause: fault, hint: translated.hint, retryable: translated.retryable };
  if (spec.quiesce && isQuiesceFault(fault)) {
    const hint = "Check VMware Tools and the freeze scripts in the guest, or allow a crash-consistent snapshot";
    return new QuiesceError(translated.message.replace(action, `Cannot quiesce the guest of ${vm.id}`), {
      ...options,
      hint,
    });
  }
  return new SnapshotError(translated.message, options);
}

/** Some servers wrap the failure into a general fault and say what it was with a message key only. */
function isQuiesceFault(fault: SoapFault): boolean {
  return QUIESCE_FAULTS.some((name) => fault.is(name)) || fault.reasons.some(({ key }) => /quiesc/i.test(key));
}
