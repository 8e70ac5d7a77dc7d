import { errorChain, IntegrityError, LeftoverError } from "../../errors.js";
import type { CallOptions, TaskOptions } from "../../hypervisor.js";
import type { Logger } from "../../log.js";
import { XapiFault } from "../xapi/fault.js";
import { isSet, text, toRecord } from "../xapi/fields.js";
import type { XapiValue } from "../xapi/value.js";
import type { Xapi, XenUploadBody } from "../xapi/xapi.js";
import { IMPORT_KEY, removalDeadline, removeImport } from "./half-import.js";
import type { StorageChoice } from "./storage-choice.js";

export interface ImportRequest {
  readonly archive: XenUploadBody;
  readonly storage: StorageChoice;
  /** Undefined keeps the name of the archive. */
  readonly name: string | undefined;
  /** Whose it is, for whoever finds what it left. */
  readonly mark: string;
  readonly notes: ImportNotes;
}

/** Kept where a death of this process does not reach it. */
export interface ImportNotes {
  /** Before the first byte is sent: nothing is when it rejects. */
  begun(task: string): Promise<void>;
  failed(): Promise<void>;
  /** The import is complete, or nothing of it is left. */
  ended(): Promise<void>;
}

export interface ImportedVm {
  readonly uuid: string;
  readonly name: string;
  /** What was exported from a snapshot or a template arrives as one. */
  readonly isTemplate: boolean;
}

/**
 * Imports an archive as a new VM: never over one that exists, with a UUID and network addresses of its own. The answer
 * "200" comes before the work; only the server's task tells how it ended.
 * @throws XapiFault, UnreachableError; LeftoverError when a failed import left something that could not be removed, or
 *   when the new VM is there and cannot be named
 */
export async function importArchive(
  { archive, storage, name, mark, notes }: ImportRequest,
  xapi: Xapi,
  options: TaskOptions & { readonly logger: Logger },
): Promise<readonly ImportedVm[]> {
  const { signal, logger } = options;
  let task: string | undefined;
  const call = {
    ...options,
    what: "Importing",
    description: mark,
    onBegun: async (ref: string) => {
      await notes.begun(ref);
      task = ref;
    },
  };
  let result;
  try {
    // restore=true would replace the VM that has the archive's UUID.
    const query = { sr_id: storage.ref, restore: "false", force: "false" };
    result = await xapi.upload(storage.host, "/import", query, archive, call);
  } catch (error) {
    if (task !== undefined) {
      await noted(notes.failed(), logger);
      await cleanUp(task, error, xapi, logger);
      await noted(notes.ended(), logger);
    }
    throw error;
  }
  await noted(notes.ended(), logger);
  try {
    return await finish(result, name, xapi, { signal });
  } catch (error) {
    throw new LeftoverError(`The archive is imported, but the new VM cannot be named and shown: ${errorChain(error)}`, {
      cause: error,
      hint: `It is there: xe vm-list other-config:import_task=${task ?? ""}`,
    });
  }
}

/** What became of the import counts for more than its note: without it, `vmmount gc` asks the server. */
async function noted(note: Promise<void>, logger: Logger): Promise<void> {
  try {
    await note;
  } catch (error) {
    logger.warn(`The record of the import is not up to date: ${errorChain(error)}`);
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

/** The server removes a failed import itself; one that died in the middle of it does not. */
async function cleanUp(task: string, why: unknown, xapi: Xapi, logger: Logger): Promise<void> {
  try {
    await removeImport(task, xapi, { signal: removalDeadline(), logger });
  } catch (error) {
    throw new LeftoverError(
      `${why instanceof XapiFault ? "The import failed" : errorChain(why)}, and what it left could not be removed: ${errorChain(error)}`,
      {
        cause: why,
        hint: `vmmount gc tries again; or look for VMs with other-config:${IMPORT_KEY}=${task} and disks with sm-config:${IMPORT_KEY}=${task}`,
      },
    );
  }
}
