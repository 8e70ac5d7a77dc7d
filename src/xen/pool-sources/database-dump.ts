import { IntegrityError } from "../../errors.js";

/** The manifest is in the first line. */
export const DUMP_HEAD_BYTES = 4096;
/** Of a pool of one host without a VM; the dummy that a pool gives out while it is being upgraded has some hundreds. */
const DUMP_BYTES_MIN = 16 * 1024;

/**
 * Refuses what is no backup of the pool's database, although the server called it a success: something else than the dump
 * (`<database><manifest>…</manifest><table name=…>…</database>`, xen-api ocaml/database/db_xml.ml), one that was cut off,
 * or the empty one of a pool in the middle of an upgrade.
 * @throws IntegrityError
 */
export function checkDump({ head, tail, size }: { head: string; tail: string; size: number }): void {
  const start = head.replace(/^<\?xml[^>]*\?>\s*/, "");
  if (!start.startsWith("<database>") || !start.includes("<manifest>")) {
    throw new IntegrityError("Cannot use the dump of the pool's database: it does not begin like one");
  }
  if (!tail.trimEnd().endsWith("</database>")) {
    throw new IntegrityError("Cannot use the dump of the pool's database: its end is missing", { retryable: true });
  }
  if (size < DUMP_BYTES_MIN || !head.includes("<table")) {
    throw new IntegrityError(`Cannot use the dump of the pool's database: it holds nothing (${size} bytes)`, {
      hint: "A pool gives out an empty one while it is being upgraded: try again afterwards",
    });
  }
}
