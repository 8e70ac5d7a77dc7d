import { setTimeout as delay } from "node:timers/promises";
import { deadline } from "../../deadline.js";
import { errorChain, IntegrityError, LeftoverError, UnreachableError } from "../../errors.js";
import type { CallOptions, TaskOptions } from "../../hypervisor.js";
import type { Logger } from "../../log.js";
import { HELD } from "../held.js";
import { unlessGone } from "../inventory.js";
import { XapiFault } from "../xapi/fault.js";
import { isSet, map, reference, references, text, toRecord } from "../xapi/fields.js";
import { recordsOf } from "../xapi/pool-facts.js";
import type { XapiValue } from "../xapi/value.js";
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

/** Where the server notes the task of an import in what it makes. */
const KEY = "import_task";
/** Removing what a failed import left: the host has let go of its disks within seconds. */
const CLEAN_MS_MAX = 120_000;
const HELD_PAUSE_MS = 2_000;

/**
 * Imports an archive as a new VM: never over one that exists, with a UUID and network addresses of its own. The answer
 * "200" comes before the work; only the server's task tells how it ended.
 * @throws XapiFault, UnreachableError; LeftoverError when a failed import left something that could not be removed, or
 *   when the new VM is there and cannot be named
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
  try {
    return await finish(result, name, xapi, { signal });
  } catch (error) {
    throw new LeftoverError(`The archive is imported, but the new VM cannot be named and shown: ${errorChain(error)}`, {
      cause: error,
      hint: `It is there: xe vm-list other-config:import_task=${task ?? ""}`,
    });
  }
}

async function finish(
  result: XapiValue,
  name: string | undefined,
  xapi: Xapi,
  options: CallOptions,
): Promise<readonly ImportedVm[]> {
  const refs = Array.isArray(result) ? (result as readonly unknown[]) : [result];
  const imported: ImportedVm[] = [];
  for (const ref of refs) {
    if (typeof ref !== "string" || ref === "")
      throw new IntegrityError("Cannot tell what was imported: the server names no VM");
    if (name !== undefined && refs.length === 1) await xapi.call("VM.set_name_label", [ref, name], options);
    const record = toRecord(await xapi.call("VM.get_record", [ref], options), "the imported VM");
    imported.push({
      uuid: text(record, "uuid"),
      name: text(record, "name_label"),
      isTemplate: isSet(record, "is_a_template"),
    });
  }
  return imported;
}

/**
 * The server removes a failed import itself; one that died in the middle of it does not. What it made carries the task:
 * VMs in other_config, disks, which may have come without their VM yet, in sm_config.
 */
async function cleanUp(task: string, why: unknown, xapi: Xapi, logger: Logger): Promise<void> {
  const signal = deadline(CLEAN_MS_MAX, () => new UnreachableError("Removing it took too long"));
  const call = xapi.call.bind(xapi);
  try {
    const disks = new Set<string>();
    for (const [ref, vm] of await recordsOf(call, "VM", { signal })) {
      if (map(vm, "other_config").get(KEY) !== task) continue;
      logger.info(`Removing the half import "${text(vm, "name_label")}"`);
      for (const disk of await disksOf(references(vm, "VBDs"), xapi, { signal })) disks.add(disk);
      await remove("VM.destroy", ref, xapi, { signal });
    }
    for (const [ref, vdi] of await recordsOf(call, "VDI", { signal })) {
      if (map(vdi, "sm_config").get(KEY) === task) disks.add(ref);
    }
    for (const disk of disks) await remove("VDI.destroy", disk, xapi, { signal });
  } catch (error) {
    throw new LeftoverError(
      `${why instanceof XapiFault ? "The import failed" : errorChain(why)}, and what it left could not be removed: ${errorChain(error)}`,
      {
        cause: why,
        hint: `Look for VMs with other-config:${KEY}=${task} and disks with sm-config:${KEY}=${task}, and delete them`,
      },
    );
  }
}

/** The server may still be at it, or hold a disk that it was writing to. */
async function remove(method: string, ref: string, xapi: Xapi, { signal }: CallOptions): Promise<void> {
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
