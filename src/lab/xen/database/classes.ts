import type { Field } from "./field.js";
import { parseFields } from "./field.js";
import { isSince, type ProfileName } from "../profile.js";
import { MACHINE_CLASSES } from "./machine-classes.js";
import { POOL_CLASSES } from "./pool-classes.js";

export interface ClassShape {
  readonly name: string;
  readonly fields: ReadonlyMap<string, Field>;
}

/** Classes whose rows end with the process: XAPI does not write them to its database file either. */
export const TRANSIENT: ReadonlySet<string> = new Set(["task", "session"]);

const SHAPES: ReadonlyMap<string, ClassShape> = new Map(
  Object.entries({ ...POOL_CLASSES, ...MACHINE_CLASSES }).map(([name, text]) => [
    name,
    { name, fields: new Map(parseFields(text).map((field) => [field.name, field])) },
  ]),
);

/** In ASCII order, as they stand in a dump. */
export const CLASS_NAMES: readonly string[] = [...SHAPES.keys()].sort();

export function classShape(name: string): ClassShape | undefined {
  return SHAPES.get(name);
}

/** Whether a release knows a class at all. */
export function hasClass(name: string, profile: ProfileName): boolean {
  return SHAPES.has(name) && (name !== "Certificate" || isSince(profile, "8.2"));
}

/** The fields of a class that a release has. */
export function fieldsOf(name: string, profile: ProfileName): readonly Field[] {
  return [...(SHAPES.get(name)?.fields.values() ?? [])].filter((field) => isSince(profile, field.since));
}

/** Reference fields of a class by which other objects' lists change. */
export function watchedReferences(name: string): readonly string[] {
  return WATCHED.get(name) ?? [];
}

const WATCHED = new Map<string, string[]>();
for (const { fields } of SHAPES.values()) {
  for (const { derived } of fields.values()) {
    if (derived === undefined) continue;
    WATCHED.set(derived.from, [...new Set([...(WATCHED.get(derived.from) ?? []), derived.field])]);
  }
}
