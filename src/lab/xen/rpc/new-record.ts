import { classShape } from "../database/classes.js";
import type { Row } from "../database/database.js";
import { XapiFault } from "../fault.js";
import type { Value } from "../value.js";
import { typed } from "./arguments.js";

/** Fields that only the pool itself sets, whatever a record for `create` says. */
const OWN = new Set(["uuid", "allowed_operations", "current_operations", "metrics", "guest_metrics", "location"]);

/**
 * The fields of a record that a client gives to `CLASS.create`. Unknown ones are ignored, computed ones too.
 * @param needed fields without a default
 * @throws XapiFault FIELD_TYPE_ERROR with the name of a field that lacks or has the wrong type
 */
export function newRecord(className: string, given: Readonly<Record<string, Value>>, needed: string): Row {
  for (const name of needed.split(" ")) if (given[name] === undefined) throw new XapiFault("FIELD_TYPE_ERROR", name);
  const row: Record<string, Value> = {};
  for (const { name, type, derived } of classShape(className)?.fields.values() ?? []) {
    const value = given[name];
    if (value === undefined || derived !== undefined || OWN.has(name)) continue;
    row[name] = typed(name, type === "refmap" ? "map" : type, value);
  }
  return row;
}
