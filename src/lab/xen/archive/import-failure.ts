import { XapiFault } from "../fault.js";

/**
 * What xapi makes of an exception that has no code of its own: its text, wrapped twice.
 * @param exception as OCaml prints it: `Failure("int_of_string")`
 */
export function importError(exception: string): XapiFault {
  return new XapiFault("IMPORT_ERROR", `INTERNAL_ERROR: [ ${exception} ]`);
}

/** A failure of the part of xapi that reads the disks of an archive. */
export function streamFailure(text: string): XapiFault {
  return importError(`Stream_vdi.Failure("${text}")`);
}
