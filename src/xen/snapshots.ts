import { setTimeout as delay } from "node:timers/promises";
import type { VmmountError } from "../errors.js";
import { QuiesceError, RefusedError, SnapshotError, unwrapAbort, UnreachableError } from "../errors.js";
import type { CallOptions, Snapshot, SnapshotSpec, TaskOptions } from "../hypervisor.js";
import type { Logger } from "../log.js";
import { DESCRIBED_KEY } from "./described.js";
import { findVm, needVm } from "./inventory.js";
import { canIgnoreDisks } from "./obstacles.js";
import { OfflineVm, START_AGAIN_KEY } from "./offline.js";
import { listSnapshots } from "./snapshot-list.js";
import { SnapshotRemoval } from "./snapshot-removal.js";
import { type SnapshotSupport, whyNoSnapshot } from "./storage.js";
import { loadDisks } from "./vm-disks.js";
import { XapiFault } from "./xapi/fault.js";
import { translateFault } from "./xapi/fault-errors.js";
import { map, text } from "./xapi/fields.js";
import type { XenLimits } from "./xapi/limits.js";
import type { XapiRecord, XapiValue } from "./xapi/value.js";
import type { TaskCall, Xapi } from "./xapi/xapi.js";

export interface SnapshotParts {
  readonly xapi: Xapi;
  readonly support: (options: CallOptions) => Promise<SnapshotSupport>;
  readonly limits: XenLimits;
  readonly logger: Logger;
}

interface SourceVm {
  readonly ref: string;
  readonly record: XapiRecord;
}

/** What a VM's current_operations calls the making of a snapshot. */
const CREATING = ["snapshot", "checkpoint", "snapshot_with_quiesce"];
/** A task that has ended may stand in current_operations for a moment. */
const SETTLE_PAUSE_MS = 500;

/** Creates, lists and removes snapshots. */
export class Snapshots {
  readonly #parts: SnapshotParts;
  readonly #offline: OfflineVm;
  readonly #removal: SnapshotRemoval;
  /** VMs that somebody cleans up: looking through every disk of the pool is for them alone. */
  readonly #settled = new Set<string>();

  constructor(parts: SnapshotParts) {
    this.#parts = parts;
    this.#offline = new OfflineVm(parts.xapi, parts.logger);
    this.#removal = new SnapshotRemoval(parts.xapi, parts.limits, parts.logger);
  }

  /** @throws NotFoundError, XapiFault */
  list(vm: string, { signal }: CallOptions): Promise<Snapshot[]> {
    return listSnapshots(vm, this.#parts.xapi, { signal, everywhere: this.#settled.has(vm) });
  }

  /** Absent = success. @throws XapiFault, BusyError, RefusedError for what is no snapshot */
  remove(snapshot: string, options: TaskOptions): Promise<void> {
    return this.#removal.remove(snapshot, options);
  }

  /** @throws QuiesceError, SnapshotError, AuthError */
  async create(vm: string, spec: SnapshotSpec, options: TaskOptions): Promise<Snapshot> {
    if ([spec.quiesce, spec.memory, spec.offline].filter((one) => one === true).length > 1) {
      throw new RefusedError(
        `Cannot create snapshot "${spec.name}": quiesced, with memory and offline exclude each other`,
      );
    }
    const source = await needVm(vm, this.#parts.xapi, options);
    try {
      const take = (): Promise<Snapshot> => this.#take(vm, source, spec, options);
      return spec.offline === true ? await this.#offline.during(source.ref, options, take) : await take();
    } catch (error) {
      if (error instanceof XapiFault) throw snapshotError(error, source.record, spec);
      throw error;
    }
  }

  async #take(vm: string, source: SourceVm, spec: SnapshotSpec, options: TaskOptions): Promise<Snapshot> {
    options.signal.throwIfAborted();
    const before = new Set((await this.list(vm, options)).map(({ ref }) => ref));
    try {
      await this.#start(source, spec, options);
    } catch (error) {
      if (!isLostAnswer(error) || options.signal.aborted) throw error;
      this.#parts.logger.warn("Lost the answer to the snapshot call, looking for the snapshot before asking again", {
        name: spec.name,
      });
      await this.#settleCreation(vm, options);
      if ((await this.#made(vm, spec, before, options)) === undefined) await this.#start(source, spec, options);
    }
    const made = await this.#made(vm, spec, before, options);
    if (made === undefined) {
      throw new SnapshotError(
        `Cannot create a snapshot of "${text(source.record, "name_label")}": the server reports success, but it is not there`,
      );
    }
    await this.#describe(made, spec, options);
    const described = (await this.list(vm, options)).find(({ ref }) => ref === made.ref);
    return described ?? made;
  }

  /** @throws XapiFault, UnreachableError */
  async #start({ ref, record }: SourceVm, spec: SnapshotSpec, options: TaskOptions): Promise<void> {
    const { xapi } = this.#parts;
    const call: TaskCall = { ...options, what: `Creating snapshot "${spec.name}"` };
    if (spec.quiesce) await xapi.task("VM.snapshot_with_quiesce", [ref, spec.name], call);
    else if (spec.memory === true && text(record, "power_state") !== "Halted") {
      await xapi.task("VM.checkpoint", [ref, spec.name], call);
    } else {
      const ignored = canIgnoreDisks(xapi) ? await this.#excluded(record, options) : [];
      await this.#plain([ref, spec.name], ignored, call);
    }
  }

  /** A number of a version promises that disks can be left out; the call shows it. */
  async #plain(args: readonly XapiValue[], ignored: readonly string[], call: TaskCall): Promise<void> {
    const { xapi, logger } = this.#parts;
    try {
      await xapi.task("VM.snapshot", ignored.length === 0 ? args : [...args, ignored], call);
    } catch (error) {
      const isUnknown = error instanceof XapiFault && error.is("MESSAGE_PARAMETER_COUNT_MISMATCH");
      if (!isUnknown || ignored.length === 0) throw error;
      logger.warn("The pool leaves no disks out of a snapshot, whatever its version: asking for one of all disks");
      await xapi.task("VM.snapshot", args, call);
    }
  }

  /** Disks that would make the whole snapshot fail. */
  async #excluded(vm: XapiRecord, options: CallOptions): Promise<string[]> {
    const support = await this.#parts.support(options);
    const disks = await loadDisks(vm, this.#parts.xapi, options);
    return disks.filter(({ vdi, sr }) => whyNoSnapshot(vdi, sr, support) !== undefined).map(({ vdiRef }) => vdiRef);
  }

  async #made(
    vm: string,
    { name }: SnapshotSpec,
    before: ReadonlySet<string>,
    options: CallOptions,
  ): Promise<Snapshot | undefined> {
    return (await this.list(vm, options)).find((snapshot) => snapshot.name === name && !before.has(snapshot.ref));
  }

  /** A snapshot comes with its VM's description: ours follows, then a note that it has. */
  async #describe(
    { ref: uuid }: Snapshot,
    { description, offline }: SnapshotSpec,
    options: CallOptions,
  ): Promise<void> {
    const { xapi } = this.#parts;
    const ref = await xapi.call("VM.get_by_uuid", [uuid], options);
    await xapi.call("VM.set_name_description", [ref, description], options);
    // A VM that is reverted to it, or restored from it, would be started for no reason.
    if (offline === true) await xapi.call("VM.remove_from_other_config", [ref, START_AGAIN_KEY], options);
    // Inherited, where the VM itself was restored from a snapshot of ours; a map takes a key once.
    await xapi.call("VM.remove_from_other_config", [ref, DESCRIBED_KEY], options);
    await xapi.call("VM.add_to_other_config", [ref, DESCRIBED_KEY, uuid], options);
  }

  /** Waits for whoever creates a snapshot of the VM, and starts a guest again that was shut down for one. */
  async settle(vm: string, options: TaskOptions): Promise<void> {
    await this.#settleCreation(vm, options);
    this.#settled.add(vm);
    const found = await findVm(vm, this.#parts.xapi, options);
    if (found !== undefined) await this.#offline.resume(found.ref, options);
  }

  async #settleCreation(vm: string, options: TaskOptions): Promise<void> {
    const { xapi, logger } = this.#parts;
    for (;;) {
      const found = await findVm(vm, xapi, options);
      if (found === undefined) return;
      const operations = [...map(found.record, "current_operations")];
      const tasks = operations.filter(([, operation]) => CREATING.includes(operation)).map(([task]) => task);
      if (tasks.length === 0) return;
      for (const task of tasks) {
        // Its failure is not ours to report: what counts is whether the snapshot is there afterwards.
        await xapi.wait(task, { ...options, what: "Creating snapshot", onAbort: "leave" }).catch((error: unknown) => {
          if (!(error instanceof XapiFault)) throw error;
          logger.debug("Somebody's snapshot task has ended", { fault: error.code });
        });
      }
      await delay(SETTLE_PAUSE_MS, undefined, { signal: options.signal }).catch((error: unknown) => {
        throw unwrapAbort(error);
      });
    }
  }
}

/** The call, or the task that it began, may have done its work. */
function isLostAnswer(error: unknown): boolean {
  if (error instanceof XapiFault) return error.is("HANDLE_INVALID") && error.params[0]?.toLowerCase() === "task";
  return error instanceof UnreachableError && error.retryable;
}

const REMOVED = ["MESSAGE_REMOVED", "MESSAGE_METHOD_UNKNOWN", "VM_SNAPSHOT_WITH_QUIESCE_NOT_SUPPORTED"];

function snapshotError(fault: XapiFault, vm: XapiRecord, spec: SnapshotSpec): VmmountError {
  const name = `"${text(vm, "name_label")}"`;
  const translated = translateFault(fault, `Cannot create a snapshot of ${name}`);
  // Missing permissions and VMs are what they are, whatever was asked for.
  if (translated.exit === "auth" || translated.exit === "not-found") return translated;
  const options = { cause: fault, retryable: translated.retryable, hint: translated.hint };
  if (spec.quiesce && (fault.code.startsWith("VM_SNAPSHOT_WITH_QUIESCE") || REMOVED.includes(fault.code))) {
    const why = REMOVED.includes(fault.code)
      ? "the server has no quiesced snapshots of it: releases from 8.1 on have none, and earlier ones need Windows with the VSS provider of the guest tools"
      : "the guest could not flush and freeze its file systems";
    return new QuiesceError(`Cannot quiesce the guest of ${name}: ${why} (${fault.code})`, {
      ...options,
      hint: "Allow a crash-consistent snapshot with --quiesce off, or have the guest shut down for it",
    });
  }
  return new SnapshotError(translated.message, options);
}
