import { IntegrityError } from "../../errors.js";
import { bytes, type Bytes } from "../../units.js";
import { isRecord, NULL_REF, type XapiRecord, type XapiValue } from "./value.js";

/** Fields of records as they should be; a field that a release does not have reads as empty. */
export function text(record: XapiRecord, name: string): string {
  const value = record[name];
  return typeof value === "string" ? value : "";
}

export function isSet(record: XapiRecord, name: string): boolean {
  return record[name] === true;
}

/** @returns undefined for nothing */
export function reference(record: XapiRecord, name: string): string | undefined {
  const value = text(record, name);
  return value === "" || value === NULL_REF ? undefined : value;
}

export function list(record: XapiRecord, name: string): string[] {
  const value = record[name];
  return Array.isArray(value) ? value.filter((one) => typeof one === "string") : [];
}

export function references(record: XapiRecord, name: string): string[] {
  return list(record, name).filter((ref) => ref !== NULL_REF);
}

/** A map of text to text. */
export function map(record: XapiRecord, name: string): ReadonlyMap<string, string> {
  const value = record[name];
  const entries = value !== undefined && isRecord(value) ? Object.entries(value) : [];
  return new Map(entries.flatMap(([key, one]) => (typeof one === "string" ? [[key, one]] : [])));
}

/** @returns undefined for a field that is no number, or not known (-1) */
export function integer(record: XapiRecord, name: string): number | undefined {
  const value = Number(text(record, name) || "-1");
  return Number.isSafeInteger(value) && value >= 0 ? value : undefined;
}

/** @throws IntegrityError for a size that is none */
export function size(record: XapiRecord, name: string): Bytes {
  const value = integer(record, name);
  if (value === undefined) throw new IntegrityError(`Cannot use ${name} "${text(record, name)}" as a size`);
  return bytes(value);
}

/** "20240131T10:20:30Z", with or without hyphens. @returns the epoch for anything else */
export function date(record: XapiRecord, name: string): Date {
  const form = /^(\d{4})-?(\d{2})-?(\d{2})T(\d{2}:\d{2}:\d{2}(?:\.\d{1,9})?)Z?$/;
  const [, year, month, day, time] = form.exec(text(record, name)) ?? [];
  const value = new Date(year === undefined ? 0 : `${year}-${month}-${day}T${time}Z`);
  return Number.isNaN(value.getTime()) ? new Date(0) : value;
}

/** @throws IntegrityError */
export function toText(value: XapiValue, what: string): string {
  if (typeof value !== "string") throw new IntegrityError(`Cannot read ${what}: the answer is no text`);
  return value;
}

/** @throws IntegrityError */
export function toRecord(value: XapiValue, what: string): XapiRecord {
  if (!isRecord(value)) throw new IntegrityError(`Cannot read ${what}: the answer is no record`);
  return value;
}
