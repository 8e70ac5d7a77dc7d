import { fault, type Fault } from "./faults.js";
import type { ManagedObject } from "./objects.js";
import { dataShape, managedShape, PRIMITIVES } from "./schema/lookup.js";
import type { Field } from "./schema/grammar.js";
import type { Session } from "./sessions.js";
import { declare, isData, isList, type Declared, type Value } from "./values.js";

interface Step {
  readonly name: string;
  /** `device[2000]`: the element of a list whose key is 2000. */
  readonly key: string | undefined;
}

function invalid(path: string): Fault {
  return fault("InvalidProperty", { name: path });
}

function parsePath(path: string): Step[] {
  return path.split(".").map((word) => {
    const match = /^(\w+)(?:\["?([^"\]]+)"?\])?$/.exec(word);
    if (match?.[1] === undefined) throw invalid(path);
    return { name: match[1], key: match[2] };
  });
}

/**
 * Checks a path against the type alone: a vCenter refuses a wrong one even when no object has the property set.
 * @throws Fault InvalidProperty
 */
export function checkPath(type: string, path: string): void {
  let fields: readonly Field[] | undefined = managedShape(type)?.fields;
  for (const step of parsePath(path)) {
    // A type that the lab does not describe in depth: nothing below it can be judged.
    if (fields === undefined) return;
    const field: Field | undefined = fields.find((candidate) => candidate.name === step.name);
    if (field === undefined) throw invalid(path);
    const isLeaf = PRIMITIVES.has(field.type) || field.type === "ref" || (field.array && step.key === undefined);
    fields = isLeaf ? [] : dataShape(field.type)?.fields;
  }
}

/**
 * The value at a property path such as `config.hardware.device`, with its declared type.
 * @returns undefined when something on the way is unset
 * @throws Fault InvalidProperty
 */
export function valueAt(object: ManagedObject, path: string, session: Session): Declared | undefined {
  const [first, ...rest] = parsePath(path);
  const field = managedShape(object.ref.type)?.fields.find((candidate) => candidate.name === first?.name);
  if (first === undefined || field === undefined) throw invalid(path);
  let value = object.property(first.name, session);
  let declared: Field = field;
  for (const [index, step] of [first, ...rest].entries()) {
    if (index > 0) {
      if (value === undefined || !isData(value)) return undefined;
      const next: Field | undefined = dataShape(value.is)?.fields.find((candidate) => candidate.name === step.name);
      if (next === undefined) throw invalid(path);
      value = value.fields[step.name];
      declared = next;
    }
    if (step.key !== undefined) {
      value = keyed(value, step.key);
      declared = { ...declared, array: false };
    }
  }
  if (value === undefined || (declared.array && isList(value) && value.length === 0 && declared.optional))
    return undefined;
  return declare(declared.type, declared.array, value);
}

function keyed(value: Value | undefined, key: string): Value | undefined {
  if (!isList(value)) return undefined;
  return value.find((item) => isData(item) && item.fields["key"] === (/^\d+$/.test(key) ? Number(key) : key));
}
