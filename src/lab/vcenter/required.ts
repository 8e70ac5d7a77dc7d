import { dataShape } from "./schema/lookup.js";
import { data, type Data, type Value } from "./values.js";

/**
 * A data object whose required booleans are false and required numbers 0 unless given: the capability lists of
 * vSphere have dozens of them, and a server always sends them all.
 */
export function dataWithDefaults(is: string, fields: Readonly<Record<string, Value | undefined>>): Data {
  const defaults: Record<string, Value> = {};
  for (const field of dataShape(is)?.fields ?? []) {
    if (field.optional || field.array) continue;
    if (field.type === "boolean") defaults[field.name] = false;
    else if (field.type === "int" || field.type === "long" || field.type === "short") defaults[field.name] = 0;
  }
  return data(is, { ...defaults, ...fields });
}
