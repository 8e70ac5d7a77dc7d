import { errorChain, IntegrityError, LeftoverError } from "../../errors.js";
import type { CallOptions, TaskOptions } from "../../hypervisor.js";
import type { Logger } from "../../log.js";
import { unlessGone } from "../inventory.js";
import { XapiFault } from "../xapi/fault.js";
import { isSet, map, reference, references, text, toRecord } from "../xapi/fields.js";
import { recordsOf } from "../xapi/pool-facts.js";
import type { Xapi, XenUploadBody } from "../xapi/xapi.js";
import type { StorageChoice } from "./storage-choice.js";

export interface ImportRequest {
  readonly archive: XenUploadBody;
  readonly storage: StorageChoice;
  /** Undefined keeps the name of the archive. */
  readonly name: string | undefined;
}

export interface ImportedVm {
  readonly uuid: string;
  readonly name: string;
  /** What was exported from a snapshot or a template arrives as one. */
  readonly isTemplate: boolean;
}

/** Removing what a failed import left: the host has let go of its disks within seconds. */
const CLEAN_MS_MAX = 120_000;

/**
 * Imports an archive as a new VM: never over one that exists, with a UUID and network addresses of its own. The answer
 * "200" comes before the work; only the server's task tells how it ended.
 * @throws XapiFault, UnreachableError; LeftoverError when a failed import left something that could not be removed
 */
export async function importArchive(
  { archive, storage, name }: ImportRequest,
  xapi: Xapi,
  options: TaskOptions & { readonly logger: Logger },
): Promise<readonly ImportedVm[]> {
  const { signal } = options;
  let task: string | undefined;
  const call = {
    ...options,
    what: "Importing",
    onBegun: (ref: string) => {
      task = ref;
    },
  };
  let result;
  try {
    // restore=true would replace the VM that has the archive's UUID.
    const query = { sr_id: storage.ref, restore: "false", force: "false" };
    result = await xapi.upload(storage.host, "/import", query, archive, call);
  } catch (error) {
    if (task !== undefined) await cleanUp(task, error, xapi, options.logger);
    throw error;
  }
  const refs = Array.isArray(result) ? (result as readonly unknown[]) : [result];
  const imported: ImportedVm[] = [];
  for (const ref of refs) {
    if (typeof ref !== "string" || ref === "")
      throw new IntegrityError("Cannot tell what was imported: the server names no VM");
    if (name !== undefined && refs.length === 1) await xapi.call("VM.set_name_label", [ref, name], { signal });
    const record = toRecord(await xapi.call("VM.get_record", [ref], { signal }), "the imported VM");
    imported.push({
      uuid: text(record, "uuid"),
      name: text(record, "name_label"),
      isTemplate: isSet(record, "is_a_template"),
    });
  }
  return imported;
}

/**
 * The server removes a failed import itself; one that died in the middle of it does not. What it made carries the task.
 */
async function cleanUp(task: string, why: unknown, xapi: Xapi, logger: Logger): Promise<void> {
  const signal = AbortSignal.timeout(CLEAN_MS_MAX);
  try {
    for (const [ref, vm] of await recordsOf(xapi.call.bind(xapi), "VM", { signal })) {
      if (map(vm, "other_config").get("import_task") !== task) continue;
      logger.info(`Removing the half import "${text(vm, "name_label")}"`);
      const disks = await disksOf(references(vm, "VBDs"), xapi, { signal });
      await unlessGone(() => xapi.task("VM.destroy", [ref], { signal, what: "Removing a half import" }));
      for (const disk of disks) {
        await unlessGone(() => xapi.task("VDI.destroy", [disk], { signal, what: "Removing a half import" }));
      }
    }
  } catch (error) {
    throw new LeftoverError(
      `${why instanceof XapiFault ? "The import failed" : errorChain(why)}, and what it left could not be removed: ${errorChain(error)}`,
      { cause: why, hint: `Look for VMs and disks whose other-config:import_task is ${task}, and delete them` },
    );
  }
}

async function disksOf(vbds: readonly string[], xapi: Xapi, options: CallOptions): Promise<string[]> {
  const disks: string[] = [];
  for (const ref of vbds) {
    const vbd = await unlessGone(() => xapi.call("VBD.get_record", [ref], options));
    const record = vbd === undefined ? {} : toRecord(vbd, "a VBD");
    const disk = reference(record, "VDI");
    if (text(record, "type") === "Disk" && disk !== undefined) disks.push(disk);
  }
  return disks;
}
