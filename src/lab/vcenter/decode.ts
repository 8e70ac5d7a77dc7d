import { fault, invalidRequest } from "./faults.js";
import type { Field } from "./schema/grammar.js";
import { dataShape, PRIMITIVES } from "./schema/lookup.js";
import { data, moref, type Data, type Moref, type Value } from "./values.js";
import { xsiType, type Element } from "./xml.js";

/**
 * Reads the children of `parent` by `fields`. As strict as a vCenter's parser: an element out of WSDL order, an
 * unknown one or a missing required one is a fault; a server that takes any order hides bugs of clients.
 */
export function decodeFields(
  children: readonly Element[],
  fields: readonly Field[],
  where: string,
): Record<string, Value | undefined> {
  const lists = new Map<string, Value[]>();
  let position = 0;
  for (const child of children) {
    const at = fields.findIndex((field, index) => index >= position && field.name === child.name);
    const field = fields[at];
    if (field === undefined) {
      throw invalidRequest(`Unexpected element tag "${child.name}" seen\n\nwhile parsing ${where}`);
    }
    position = field.array ? at : at + 1;
    const seen = lists.get(field.name) ?? [];
    seen.push(decodeValue(child, field.type, where));
    lists.set(field.name, seen);
  }
  const values: Record<string, Value | undefined> = {};
  for (const field of fields) {
    const seen = lists.get(field.name);
    if (seen === undefined && !field.optional && !field.array) {
      throw invalidRequest(`Required parameter ${field.name} is missing\n\nwhile parsing ${where}`);
    }
    values[field.name] = field.array ? (seen ?? []) : seen?.[0];
  }
  return values;
}

function decodeValue(element: Element, declared: string, where: string): Value {
  if (declared === "ref") return decodeMoref(element);
  const actual = xsiType(element) ?? declared;
  if (PRIMITIVES.has(actual)) return decodePrimitive(element, actual, where);
  const shape = dataShape(actual);
  if (shape === undefined) return element.text;
  if (declared !== "anyType" && !shape.lineage.includes(declared)) {
    throw fault("InvalidType", { argument: actual }, `Type ${actual} is not a ${declared}`);
  }
  return decodeData(element, actual, shape.fields);
}

function decodeData(element: Element, is: string, fields: readonly Field[]): Data {
  return data(is, decodeFields(element.children, fields, `serialized DataObject of type ${is}`));
}

export function decodeMoref(element: Element): Moref {
  const type = element.attributes.get("type");
  if (type === undefined) throw invalidRequest(`Element "${element.name}" has no type attribute`);
  return moref(type, element.text.trim());
}

function decodePrimitive(element: Element, type: string, where: string): Value {
  const text = element.text;
  const bad = (): Error => invalidRequest(`Error parsing "${text}" as ${type}\n\nwhile parsing ${where}`);
  switch (type) {
    case "boolean": {
      const word = text.trim().toLowerCase();
      if (word === "true" || word === "1") return true;
      if (word === "false" || word === "0") return false;
      throw bad();
    }
    case "byte":
    case "short":
    case "int":
    case "long": {
      if (!/^\s*[+-]?\d{1,19}\s*$/.test(text) || !Number.isSafeInteger(Number(text))) throw bad();
      return Number(text);
    }
    default:
      return text;
  }
}
