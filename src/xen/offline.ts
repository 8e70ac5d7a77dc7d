import { setTimeout as delay } from "node:timers/promises";
import { deadline } from "../deadline.js";
import { errorChain, SnapshotError, UnreachableError } from "../errors.js";
import type { CallOptions, TaskOptions } from "../hypervisor.js";
import type { Logger } from "../log.js";
import { unlessGone } from "./inventory.js";
import { XapiFault } from "./xapi/fault.js";
import { translateFault } from "./xapi/fault-errors.js";
import { map, text, toRecord } from "./xapi/fields.js";
import type { XapiRecord } from "./xapi/value.js";
import type { TaskCall, Xapi } from "./xapi/xapi.js";

/**
 * In the VM's other_config while its guest is down because of us: when that was, as ISO date, and the UUID of the VM,
 * since its snapshot, and what is restored or cloned from that, inherit what it has there.
 */
export const START_AGAIN_KEY = "vmmount-start-again";
/** Starting a guest is short; a host that looks for memory takes longer. */
const START_MS_MAX = 300_000;
/** After a shutdown that was given up, a guest may still obey for a while. */
const LATE_SHUTDOWN_MS = 30_000;
const POLL_MS = 1_000;
/** Whoever died longer ago than this has been missed: somebody may want the guest to stay down. */
const RESUME_AGE_MS_MAX = 24 * 3_600_000;

/** Shuts a guest down for a while, and sees to it that it runs again whatever happens: also after our own death. */
export class OfflineVm {
  readonly #xapi: Xapi;
  readonly #logger: Logger;

  constructor(xapi: Xapi, logger: Logger) {
    this.#xapi = xapi;
    this.#logger = logger;
  }

  /** @throws SnapshotError when the guest cannot be shut down cleanly or started again, XapiFault */
  async during<T>(vm: string, options: TaskOptions, work: () => Promise<T>): Promise<T> {
    const record = await this.#record(vm, options);
    const state = text(record, "power_state");
    // Nothing writes to its disks.
    if (state === "Halted" || state === "Suspended") return await work();
    if (state !== "Running") {
      throw new SnapshotError(`Cannot shut down "${text(record, "name_label")}": its power state is ${state}`);
    }
    await this.#xapi.call("VM.remove_from_other_config", [vm, START_AGAIN_KEY], options);
    const note = `${new Date().toISOString()} ${text(record, "uuid")}`;
    await this.#xapi.call("VM.add_to_other_config", [vm, START_AGAIN_KEY, note], options);
    let isDown = false;
    try {
      this.#logger.info(`Shutting down the guest of "${text(record, "name_label")}" for the snapshot`);
      await this.#xapi.task("VM.clean_shutdown", [vm], { ...options, what: "Shutting down the guest" });
      isDown = true;
      const result = await work();
      // Somebody may have started it, or it may be set to start again by itself.
      const now = text(await this.#record(vm, options), "power_state");
      if (now === "Halted") return result;
      throw new SnapshotError(
        `Cannot tell the snapshot of "${text(record, "name_label")}" to be offline: the guest was started meanwhile`,
        { hint: "Look who starts it, and at its actions-after-shutdown; then try again" },
      );
    } finally {
      await this.#startAgain(vm, record, isDown);
    }
  }

  /**
   * Starts the guest if it is down because of somebody who died. One that cannot be started is told of, and does not keep
   * its snapshot: the note stays, for the next one who cleans up.
   * @throws UnreachableError
   */
  async resume(vm: string, options: TaskOptions): Promise<void> {
    const record = await unlessGone(() => this.#record(vm, options));
    const [since, owner] = (record && map(record, "other_config").get(START_AGAIN_KEY)?.split(" ")) ?? [];
    if (record === undefined || since === undefined || owner !== text(record, "uuid")) return;
    // A date in the future, too, is one of a clock that was set back since, or of a proxy whose clock is ahead.
    const ageMs = Math.abs(Date.now() - Date.parse(since));
    const name = text(record, "name_label");
    if (text(record, "power_state") === "Halted") {
      if (!(ageMs < RESUME_AGE_MS_MAX)) {
        this.#logger.warn(`"${name}" was shut down for a snapshot at ${since} and never started again; it is left so`);
      } else {
        this.#logger.warn(`Starting "${name}", which was shut down for a snapshot at ${since}`);
        try {
          await this.#start(vm, options);
        } catch (error) {
          if (!(error instanceof XapiFault)) throw error;
          const why = translateFault(error, `"${name}" was shut down for a snapshot at ${since} and cannot be started`);
          this.#logger.error(`${why.message}. Start it by hand: xe vm-start uuid=${owner}`);
          return;
        }
      }
    }
    await this.#xapi.call("VM.remove_from_other_config", [vm, START_AGAIN_KEY], options);
  }

  /** Under a deadline of its own: the caller's signal may be what ended the work. */
  async #startAgain(vm: string, record: XapiRecord, isDown: boolean): Promise<void> {
    const name = text(record, "name_label");
    const late = (): UnreachableError => new UnreachableError("Starting the guest again took too long");
    const options = { signal: deadline(START_MS_MAX, late) };
    try {
      if (isDown || (await this.#goesDownLate(vm, options))) await this.#start(vm, options);
      else this.#logger.warn(`The guest of "${name}" did not shut down; look whether it still does so later`);
      await this.#xapi.call("VM.remove_from_other_config", [vm, START_AGAIN_KEY], options);
    } catch (error) {
      this.#logger.error(`"${name}" was shut down for a snapshot and does not start again`, {
        error: errorChain(error),
      });
      throw new SnapshotError(`Cannot start "${name}" again after its snapshot: ${errorChain(error)}`, {
        cause: error,
        hint: `Start it by hand: xe vm-start uuid=${text(record, "uuid")}`,
      });
    }
  }

  async #goesDownLate(vm: string, options: CallOptions): Promise<boolean> {
    const until = performance.now() + LATE_SHUTDOWN_MS;
    for (;;) {
      if (text(await this.#record(vm, options), "power_state") === "Halted") return true;
      if (performance.now() >= until) return false;
      await delay(POLL_MS);
    }
  }

  async #start(vm: string, options: TaskOptions): Promise<void> {
    if (text(await this.#record(vm, options), "power_state") !== "Halted") return;
    const call: TaskCall = { ...options, what: "Starting the guest again", onAbort: "leave" };
    await this.#xapi.task("VM.start", [vm, false, false], call);
  }

  async #record(vm: string, options: CallOptions): Promise<XapiRecord> {
    return toRecord(await this.#xapi.call("VM.get_record", [vm], options), "a VM");
  }
}
