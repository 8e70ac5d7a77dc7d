import { setTimeout as delay } from "node:timers/promises";
import { deadline } from "../../deadline.js";
import { UnreachableError } from "../../errors.js";
import type { CallOptions, FoundImport, Imports, TaskOptions } from "../../hypervisor.js";
import type { Logger } from "../../log.js";
import { HELD } from "../held.js";
import { unlessGone } from "../inventory.js";
import { XapiFault } from "../xapi/fault.js";
import { translating } from "../xapi/fault-errors.js";
import { date, isSet, map, reference, references, text } from "../xapi/fields.js";
import { recordsOf } from "../xapi/pool-facts.js";
import type { XapiRecord } from "../xapi/value.js";
import type { Xapi } from "../xapi/xapi.js";

/**
 * Where the server notes the task of an import in what it makes: in other_config of VMs, in sm_config of disks, which may
 * have come without their VM yet. A VM that is complete keeps it.
 */
export const IMPORT_KEY = "import_task";

const HELD_PAUSE_MS = 2_000;
/** A host lets go of the disks that it was writing within seconds. */
const REMOVAL_MS_MAX = 120_000;

type Records = ReadonlyMap<string, XapiRecord>;

/** What one task has made, with all that it is judged by. */
interface Made {
  readonly vms: readonly (readonly [ref: string, record: XapiRecord])[];
  readonly disks: readonly (readonly [ref: string, record: XapiRecord])[];
}

/** Imports of a pool, by their tasks. */
export class XenImports implements Imports {
  readonly #xapi: Xapi;
  readonly #logger: Logger;

  constructor(xapi: Xapi, logger: Logger) {
    this.#xapi = xapi;
    this.#logger = logger;
  }

  find(wanted: readonly string[], { signal }: CallOptions): Promise<FoundImport[]> {
    return translating("Cannot look for imports", async () => {
      const call = this.#xapi.call.bind(this.#xapi);
      const tasks = await recordsOf(call, "task", { signal });
      const ours = [...tasks].filter(([, task]) => text(task, "name_description").includes('"tool":"vmmount"'));
      const known = new Set([...wanted, ...ours.map(([ref]) => ref)]);
      if (known.size === 0) return [];
      const [vms, vdis, vbds] = await Promise.all([
        recordsOf(call, "VM", { signal }),
        recordsOf(call, "VDI", { signal }),
        recordsOf(call, "VBD", { signal }),
      ]);
      return [...known].flatMap((task) => {
        const made = madeBy(task, vms, vdis, vbds);
        if (made.vms.length + made.disks.length === 0) return [];
        return [toFound(task, tasks.get(task), made, { vms, vbds })];
      });
    });
  }

  remove(task: string, { signal }: TaskOptions): Promise<void> {
    return translating("Cannot remove what an import has left", () =>
      removeImport(task, this.#xapi, { signal: AbortSignal.any([signal, removalDeadline()]), logger: this.#logger }),
    );
  }
}

/** When what an import has left is given up. */
export function removalDeadline(): AbortSignal {
  return deadline(REMOVAL_MS_MAX, () => new UnreachableError("Removing it took longer than 2 minutes"));
}

/**
 * @param options `signal` also ends the wait for a disk that the server does not let go of
 * @throws XapiFault when a step is refused, or is still refused at the end; the signal's reason
 */
export async function removeImport(
  task: string,
  xapi: Xapi,
  { signal, logger }: CallOptions & { readonly logger: Logger },
): Promise<void> {
  const call = xapi.call.bind(xapi);
  const vms = await recordsOf(call, "VM", { signal });
  const vdis = await recordsOf(call, "VDI", { signal });
  const made = madeBy(task, vms, vdis, await recordsOf(call, "VBD", { signal }));
  for (const [ref, vm] of made.vms) {
    logger.info(`Removing the half import "${text(vm, "name_label")}"`);
    await removeOne("VM.destroy", ref, xapi, { signal });
  }
  for (const [ref] of made.disks) await removeOne("VDI.destroy", ref, xapi, { signal });
}

function madeBy(task: string, vms: Records, vdis: Records, vbds: Records): Made {
  const ownVms = [...vms].filter(([, vm]) => map(vm, "other_config").get(IMPORT_KEY) === task);
  const refs = new Set(ownVms.map(([ref]) => ref));
  const attached = [...vbds.values()]
    .filter((vbd) => refs.has(text(vbd, "VM")) && text(vbd, "type") === "Disk")
    .map((vbd) => reference(vbd, "VDI"));
  const disks = [...vdis].filter(
    ([ref, vdi]) => map(vdi, "sm_config").get(IMPORT_KEY) === task || attached.includes(ref),
  );
  return { vms: ownVms, disks };
}

function toFound(
  task: string,
  record: XapiRecord | undefined,
  made: Made,
  around: { readonly vms: Records; readonly vbds: Records },
): FoundImport {
  return {
    task,
    description: record === undefined ? "" : text(record, "name_description"),
    startedAt: record === undefined ? undefined : date(record, "created"),
    state: record === undefined ? "forgotten" : stateOf(text(record, "status"), made),
    vms: made.vms.map(([, vm]) => ({ ref: text(vm, "uuid"), name: text(vm, "name_label") })),
    disks: made.disks.length,
    usedBecause: useOf(made, around),
  };
}

function stateOf(status: string, { vms }: Made): FoundImport["state"] {
  if (status === "success") return "complete";
  const isWorkedOn = vms.some(([, vm]) => map(vm, "current_operations").size > 0);
  return isWorkedOn || status === "pending" || status === "cancelling" ? "working" : "failed";
}

/** A clone, a copy and a snapshot inherit the note of the task: what somebody works with is no leftover. */
function useOf({ vms, disks }: Made, around: { readonly vms: Records; readonly vbds: Records }): string | undefined {
  for (const [ref, vm] of vms) {
    const name = `VM "${text(vm, "name_label")}"`;
    if (text(vm, "power_state") !== "Halted") return `${name} is ${text(vm, "power_state").toLowerCase()}`;
    if (isSet(vm, "is_a_snapshot")) return `${name} is a snapshot`;
    if (references(vm, "snapshots").some((one) => one !== ref)) return `${name} has snapshots`;
  }
  // Neither is what was attached to it afterwards; a disk without a note is not known to be of the import.
  const other = disks.find(([, vdi]) => !map(vdi, "sm_config").has(IMPORT_KEY));
  if (other !== undefined) return `the disk "${text(other[1], "name_label")}", which no import made, is attached to it`;
  const own = new Set(vms.map(([ref]) => ref));
  const places = new Set(disks.map(([ref]) => ref));
  for (const vbd of around.vbds.values()) {
    const user = around.vms.get(text(vbd, "VM"));
    if (!places.has(text(vbd, "VDI")) || own.has(text(vbd, "VM")) || user === undefined) continue;
    // The host that was writing it.
    if (!isSet(user, "is_control_domain")) return `a disk of it is attached to the VM "${text(user, "name_label")}"`;
  }
  return undefined;
}

/** The server may still be at it, or hold a disk that it was writing to. */
async function removeOne(method: string, ref: string, xapi: Xapi, { signal }: CallOptions): Promise<void> {
  for (;;) {
    try {
      await unlessGone(() => xapi.task(method, [ref], { signal, what: "Removing a half import" }));
      return;
    } catch (error) {
      if (!(error instanceof XapiFault && error.is(...HELD))) throw error;
      await delay(HELD_PAUSE_MS, undefined, { signal }).catch(() => {
        throw error;
      });
    }
  }
}
