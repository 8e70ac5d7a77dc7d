import { randomUUID } from "node:crypto";

/**
 * A value of the Xen API: numbers are integers, `Double` is a float, a plain object is a map or a record. References,
 * uuids and enumerations are text.
 */
export type Value =
  string | number | boolean | Date | Double | SmallInt | readonly Value[] | { readonly [name: string]: Value };

/** A float: the wire tells it from an integer. */
export class Double {
  readonly value: number;

  constructor(value: number) {
    this.value = value;
  }
}

/** An integer that XML-RPC carries as `<i4>` instead of as text. */
export class SmallInt {
  readonly value: number;

  constructor(value: number) {
    this.value = value;
  }
}

export const NULL_REF = "OpaqueRef:NULL";

/** What XAPI stores where no date was ever set. */
export const EPOCH = new Date(0);

export function newRef(): string {
  return `OpaqueRef:${randomUUID()}`;
}

/** `20240131T10:20:30Z` */
export function dateText(date: Date): string {
  return date.toISOString().replace(/[-]|\.\d+/g, "");
}

/** @throws RangeError for any other form than XAPI's own */
export function parseDate(text: string): Date {
  const match = /^(\d{4})-?(\d{2})-?(\d{2})T(\d{2}):?(\d{2}):?(\d{2})(?:\.\d+)?Z$/.exec(text);
  const [year = 0, month = 0, ...rest] = (match?.slice(1) ?? []).map(Number);
  const [day = 0, hour = 0, minute = 0, second = 0] = rest;
  if (match === null) throw new RangeError(`"${text}" is no date`);
  return new Date(Date.UTC(year, month - 1, day, hour, minute, second));
}

export function isMap(value: Value): value is { readonly [name: string]: Value } {
  if (typeof value !== "object" || Array.isArray(value)) return false;
  return !(value instanceof Date || value instanceof Double || value instanceof SmallInt);
}

export function isList(value: Value): value is readonly Value[] {
  return Array.isArray(value);
}

/** A field that holds text, as text. */
export function textOf(value: Value | undefined): string {
  return typeof value === "string" ? value : "";
}
