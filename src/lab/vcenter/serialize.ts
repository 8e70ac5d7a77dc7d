import type { Field } from "./schema/grammar.js";
import { dataShape, PRIMITIVES } from "./schema/lookup.js";
import { isData, isList, isMoref, type Data, type Declared, type Moref, type Value } from "./values.js";
import { escapeXml } from "./xml.js";

/**
 * Values as the elements of a SOAP answer. In a field the declared type is known to the client, so `xsi:type` appears
 * only on a subtype; in an `anyType` place it always appears, and arrays are wrapped as `ArrayOf…`.
 */
export function writeField(field: Field, value: Value): string {
  if (field.array) {
    if (!isList(value)) throw new TypeError(`${field.name} must be a list`);
    return value.map((item) => writeOne(field.name, field.type, item)).join("");
  }
  return writeOne(field.name, field.type, value);
}

function writeOne(tag: string, declared: string, value: Value): string {
  if (declared === "anyType") return writeAny(tag, value);
  if (isMoref(value)) return writeMoref(tag, value, "");
  if (isData(value)) return writeData(tag, value, value.is === declared ? "" : ` xsi:type="${value.is}"`);
  return `<${tag}>${escapeXml(textOf(value))}</${tag}>`;
}

export function writeData(tag: string, value: Data, attributes: string): string {
  return `<${tag}${attributes}>${writeFields(value)}</${tag}>`;
}

/** The fields alone. Every field must be in the type's shape: a misspelt one would be a silent hole in the stand-in. */
function writeFields(value: Data): string {
  const shape = dataShape(value.is);
  if (shape === undefined) throw new TypeError(`The lab has no shape for ${value.is}`);
  const stray = Object.keys(value.fields).find((name) => !shape.fields.some((field) => field.name === name));
  if (stray !== undefined) throw new TypeError(`${value.is} has no field ${stray}`);
  return shape.fields
    .map((field) => {
      const content = value.fields[field.name];
      if (content !== undefined) return writeField(field, content);
      if (!field.optional && !field.array) throw new TypeError(`${value.is} lacks its field ${field.name}`);
      return "";
    })
    .join("");
}

/** An element of declared type `anyType`. */
export function writeAny(tag: string, value: Value): string {
  if (isDeclared(value)) return value.array ? writeArray(tag, value) : writeTyped(tag, value.declared, value.value);
  return writeTyped(tag, undefined, value);
}

function isDeclared(value: Value): value is Declared {
  return typeof value === "object" && "declared" in value;
}

function writeTyped(tag: string, declared: string | undefined, value: Value): string {
  if (isMoref(value)) return writeMoref(tag, value, ` xsi:type="ManagedObjectReference"`);
  if (isData(value)) return writeData(tag, value, ` xsi:type="${value.is}"`);
  if (isDeclared(value)) return writeAny(tag, value);
  const type = declared === undefined || declared === "anyType" ? primitiveOf(value) : declared;
  const qualified = PRIMITIVES.has(type) ? `xsd:${type}` : type;
  return `<${tag} xsi:type="${qualified}">${escapeXml(textOf(value))}</${tag}>`;
}

function writeArray(tag: string, { declared, value }: Declared): string {
  const item = declared === "ref" ? "ManagedObjectReference" : declared;
  const name = `ArrayOf${item.slice(0, 1).toUpperCase()}${item.slice(1)}`;
  const items = (isList(value) ? value : [value]).map((one) => writeItem(item, one)).join("");
  return `<${tag} xsi:type="${name}">${items}</${tag}>`;
}

/** Items carry `xsi:type` when they are references or subtypes, as a vCenter writes them. */
function writeItem(item: string, value: Value): string {
  if (isMoref(value)) return writeMoref(item, value, ` xsi:type="ManagedObjectReference"`);
  if (isData(value)) return writeData(item, value, ` xsi:type="${value.is}"`);
  return `<${item}>${escapeXml(textOf(value))}</${item}>`;
}

function writeMoref(tag: string, value: Moref, attributes: string): string {
  return `<${tag} type="${escapeXml(value.type)}"${attributes}>${escapeXml(value.ref)}</${tag}>`;
}

function primitiveOf(value: Value): string {
  if (typeof value === "boolean") return "boolean";
  if (typeof value === "number") return "int";
  if (typeof value === "bigint") return "long";
  return value instanceof Date ? "dateTime" : "string";
}

function textOf(value: Value): string {
  if (value instanceof Date) return value.toISOString();
  if (typeof value === "object") throw new TypeError("A data object stands where text is declared");
  return String(value);
}
