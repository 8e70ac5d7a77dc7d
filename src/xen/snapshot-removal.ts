import { setTimeout as delay } from "node:timers/promises";
import { BusyError, errorChain, RefusedError, unwrapAbort } from "../errors.js";
import type { CallOptions, TaskOptions } from "../hypervisor.js";
import type { Logger } from "../log.js";
import { HELD } from "./held.js";
import { findVm, unlessGone } from "./inventory.js";
import { markDisk, markedDisks, toMark } from "./removal-mark.js";
import { XapiFault } from "./xapi/fault.js";
import { date, isSet, list, reference, references, text, toRecord } from "./xapi/fields.js";
import type { XenLimits } from "./xapi/limits.js";
import type { XapiRecord } from "./xapi/value.js";
import type { TaskCall, Xapi } from "./xapi/xapi.js";

/**
 * Removes a snapshot with its disks: XAPI itself leaves the disks of a destroyed snapshot behind. They are marked before
 * the record goes, so that a later run finds those that are left; every step may be repeated.
 */
export class SnapshotRemoval {
  readonly #xapi: Xapi;
  readonly #limits: XenLimits;
  readonly #logger: Logger;

  constructor(xapi: Xapi, limits: XenLimits, logger: Logger) {
    this.#xapi = xapi;
    this.#limits = limits;
    this.#logger = logger;
  }

  /** @throws XapiFault, BusyError, RefusedError for a UUID of something else than a snapshot */
  async remove(snapshot: string, options: TaskOptions): Promise<void> {
    const found = await findVm(snapshot, this.#xapi, options);
    const disks =
      found === undefined
        ? (await markedDisks(this.#xapi, options))
            .filter(({ mark }) => mark.snapshot === snapshot)
            .map(({ ref }) => ref)
        : await this.#removeRecord(found.ref, found.record, options);
    await this.#removeDisks(disks, options);
  }

  /** One that cannot be removed does not keep the others. @throws what the first of them met */
  async #removeDisks(disks: readonly string[], options: TaskOptions): Promise<void> {
    const failures: unknown[] = [];
    for (const ref of disks) {
      try {
        await this.#removeDisk(ref, options);
      } catch (error) {
        if (!(error instanceof XapiFault || error instanceof BusyError)) throw error;
        failures.push(error);
      }
    }
    const [first, ...others] = failures;
    for (const other of others) this.#logger.warn(`Another disk of the snapshot is left: ${errorChain(other)}`);
    if (first !== undefined) throw first as Error;
  }

  /** @returns the disks that are left */
  async #removeRecord(ref: string, record: XapiRecord, options: TaskOptions): Promise<string[]> {
    const name = text(record, "name_label");
    if (!isSet(record, "is_a_snapshot")) throw new RefusedError(`Cannot remove "${name}": it is no snapshot`);
    const vm = await this.#vmOf(record, options);
    const mark = toMark(record, vm, date(record, "snapshot_time"));
    const disks = await this.#disksOf(record, options);
    for (const vdi of disks) await markDisk(vdi, mark, this.#xapi, options);
    // Ends the suspended memory of a checkpoint, which its own disk holds.
    if (text(record, "power_state") !== "Halted") await this.#run("VM.hard_shutdown", ref, options);
    await this.#run("VM.destroy", ref, options);
    this.#logger.debug("The snapshot's record is gone, its disks follow", { snapshot: mark.snapshot });
    return disks;
  }

  async #vmOf(snapshot: XapiRecord, options: CallOptions): Promise<string> {
    const ref = reference(snapshot, "snapshot_of");
    const uuid = ref && (await unlessGone(() => this.#xapi.call("VM.get_uuid", [ref], options)));
    return typeof uuid === "string" ? uuid : "";
  }

  /** What the snapshot alone has: its frozen disks and a checkpoint's memory. */
  async #disksOf(snapshot: XapiRecord, options: CallOptions): Promise<string[]> {
    const read = async (klass: string, ref: string): Promise<XapiRecord> =>
      toRecord(await this.#xapi.call(`${klass}.get_record`, [ref], options), `a ${klass}`);
    const frozen = async (vbdRef: string): Promise<string | undefined> => {
      const vbd = await read("VBD", vbdRef);
      const vdi = reference(vbd, "VDI");
      if (text(vbd, "type") !== "Disk" || vdi === undefined) return undefined;
      return isSet(await read("VDI", vdi), "is_a_snapshot") ? vdi : undefined;
    };
    const found = await Promise.all(references(snapshot, "VBDs").map((ref) => unlessGone(() => frozen(ref))));
    const memory = reference(snapshot, "suspend_VDI");
    return [...found, memory].filter((ref) => ref !== undefined);
  }

  /** @throws BusyError when a VM uses the disk, XapiFault */
  async #removeDisk(ref: string, options: TaskOptions): Promise<void> {
    const user = await this.#userOf(ref, options);
    if (user !== undefined) {
      throw new BusyError(`A disk of the snapshot is attached to the VM "${user}"`, {
        retryable: true,
        hint: "Detach it there (xe vbd-destroy); it stays until then",
      });
    }
    await this.#run("VDI.destroy", ref, options);
  }

  /** The name of a machine, other than dom0, that the disk is attached to. */
  async #userOf(vdi: string, options: CallOptions): Promise<string | undefined> {
    for (const { vm } of await this.#attachments(vdi, options)) {
      if (!isSet(vm, "is_control_domain")) return text(vm, "name_label");
    }
    return undefined;
  }

  async #attachments(
    vdi: string,
    options: CallOptions,
  ): Promise<{ readonly ref: string; readonly vbd: XapiRecord; readonly vm: XapiRecord }[]> {
    const vbds = await unlessGone(() => this.#xapi.call("VDI.get_VBDs", [vdi], options));
    const found = await Promise.all(
      list({ vbds: vbds ?? [] }, "vbds").map((ref) =>
        unlessGone(async () => {
          const vbd = toRecord(await this.#xapi.call("VBD.get_record", [ref], options), "a VBD");
          const vm = toRecord(await this.#xapi.call("VM.get_record", [text(vbd, "VM")], options), "a VM");
          return { ref, vbd, vm };
        }),
      ),
    );
    return found.filter((one) => one !== undefined);
  }

  /** One step until it is done: what is gone already is done, and what is held is waited for, within a bound. */
  async #run(method: string, ref: string, options: TaskOptions): Promise<void> {
    const { removeAttemptsMax, removeDelayMs } = this.#limits;
    // Half a removal is worse than a long one: the step goes on when we stop waiting.
    const call: TaskCall = { ...options, what: "Removing snapshot", onAbort: "leave" };
    for (let attempt = 1; ; attempt++) {
      try {
        await this.#xapi.task(method, [ref], call);
        return;
      } catch (error) {
        if (!(error instanceof XapiFault)) throw error;
        // Of the task as well: the server forgets tasks when its master moves. Whether the step was done shows at once.
        const isTaskLost = error.is("HANDLE_INVALID") && error.params[1] !== ref;
        if (error.is("HANDLE_INVALID") && !isTaskLost) return;
        // Done already by the attempt whose task is lost.
        if (attempt > 1 && method === "VM.hard_shutdown" && error.is("VM_BAD_POWER_STATE")) return;
        if (!(isTaskLost || error.is(...HELD)) || attempt >= removeAttemptsMax) throw error;
        this.#logger.debug("The server holds it, trying again", { method, fault: error.code, attempt });
        if (method === "VDI.destroy") await this.#unplugFromDom0(ref, options);
        await delay(removeDelayMs, undefined, { signal: options.signal }).catch((aborted: unknown) => {
          throw unwrapAbort(aborted);
        });
      }
    }
  }

  /** A transfer that died leaves the disk plugged into the host's own domain for ever. */
  async #unplugFromDom0(vdi: string, options: TaskOptions): Promise<void> {
    for (const { ref, vbd, vm } of await this.#attachments(vdi, options)) {
      if (!isSet(vm, "is_control_domain")) continue;
      const call: TaskCall = { ...options, what: "Detaching the disk from the host" };
      try {
        if (isSet(vbd, "currently_attached")) await this.#xapi.task("VBD.unplug", [ref], call);
        await this.#xapi.task("VBD.destroy", [ref], call);
      } catch (error) {
        if (!(error instanceof XapiFault)) throw error;
        // It may be letting go at this moment.
        this.#logger.debug("Cannot detach the disk from the host", { fault: error.code });
      }
    }
  }
}
