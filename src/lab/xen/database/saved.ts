import { dateText, Double, parseDate, type Value } from "../value.js";
import { CLASS_NAMES, classShape, TRANSIENT } from "./classes.js";
import type { Database } from "./database.js";

/** The database as JSON: rows by class and reference. */
export type SavedRows = Readonly<Record<string, Readonly<Record<string, Readonly<Record<string, unknown>>>>>>;

export function saveRows(database: Database): SavedRows {
  return Object.fromEntries(
    CLASS_NAMES.filter((name) => !TRANSIENT.has(name)).map((name) => [
      name,
      Object.fromEntries(database.rows(name).map(([ref, row]) => [ref, mapValues(row, toJson)])),
    ]),
  );
}

export function loadRows(database: Database, saved: SavedRows): void {
  for (const [className, rows] of Object.entries(saved)) {
    const fields = classShape(className)?.fields;
    if (fields === undefined) continue;
    for (const [ref, row] of Object.entries(rows)) {
      const known = Object.entries(row).filter(([name]) => fields.has(name));
      const values = known.map(([name, value]) => [name, fromJson(fields.get(name)?.type ?? "string", value)]);
      database.create(className, Object.fromEntries(values) as Record<string, Value>, ref);
    }
  }
}

function mapValues<A, B>(record: Readonly<Record<string, A>>, change: (value: A) => B): Record<string, B> {
  return Object.fromEntries(Object.entries(record).map(([name, value]) => [name, change(value)]));
}

function toJson(value: Value): unknown {
  if (value instanceof Date) return dateText(value);
  return value instanceof Double ? value.value : value;
}

function fromJson(type: string, value: unknown): Value {
  if (type === "date") return parseDate(String(value));
  if (type === "float") return new Double(Number(value));
  // The lab wrote it from such a value.
  return value as Value;
}
