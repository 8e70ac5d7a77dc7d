import { Arguments } from "./arguments.js";
import { Fault, fault, localized } from "./faults.js";
import type { ManagedObject, ObjectDirectory } from "./objects.js";
import { checkPath, valueAt } from "./property-path.js";
import { isManaged, managedShape } from "./schema/lookup.js";
import type { Session } from "./sessions.js";
import { Walk } from "./traversal.js";
import { data, type Data, type Declared } from "./values.js";

/** What one object shows through a filter. */
export interface ObjectView {
  readonly object: ManagedObject;
  /** By property path; only what is set. */
  readonly values: ReadonlyMap<string, Declared>;
  readonly failures: ReadonlyMap<string, Fault>;
}

interface PropertyWish {
  readonly type: string;
  readonly all: boolean;
  readonly paths: readonly string[];
}

function wishesOf(spec: Arguments): PropertyWish[] {
  return spec.each("propSet").map((propSet) => {
    const fields = new Arguments(propSet.fields);
    const type = fields.text("type") ?? "";
    const paths = fields.texts("pathSet");
    if (managedShape(type) !== undefined) for (const path of paths) checkPath(type, path);
    return { type, all: fields.flag("all") ?? false, paths };
  });
}

/**
 * Evaluates a `PropertyFilterSpec`: objects in the order of the walk, each with the properties wished for its type.
 * @throws Fault InvalidProperty, ManagedObjectNotFound
 */
export function evaluateFilter(spec: Data, objects: ObjectDirectory, session: Session): ObjectView[] {
  const fields = new Arguments(spec.fields);
  const wishes = wishesOf(fields);
  if (wishes.length === 0) throw fault("InvalidArgument", { invalidProperty: "specSet.propSet" });
  const walk = new Walk(objects, session);
  const found = walk.run(fields.each("objectSet"), fields.flag("reportMissingObjectsInResults") ?? false);
  return found
    .map((object) => ({ object, matching: wishes.filter(({ type }) => isManaged(object.ref.type, type)) }))
    .filter(({ matching }) => matching.length > 0)
    .map(({ object, matching }) => viewOf(object, pathsFor(object, matching), session));
}

function pathsFor(object: ManagedObject, wishes: readonly PropertyWish[]): ReadonlySet<string> {
  const every = managedShape(object.ref.type)?.fields.map((field) => field.name) ?? [];
  return new Set(wishes.flatMap((wish) => (wish.all ? every : wish.paths)));
}

function viewOf(object: ManagedObject, paths: ReadonlySet<string>, session: Session): ObjectView {
  const values = new Map<string, Declared>();
  const failures = new Map<string, Fault>();
  for (const path of paths) {
    try {
      const value = valueAt(object, path, session);
      if (value !== undefined) values.set(path, value);
    } catch (error) {
      if (!(error instanceof Fault) || error.detail.is === "InvalidProperty") throw error;
      failures.set(path, error);
    }
  }
  return { object, values, failures };
}

export function objectContent(view: ObjectView): Data {
  return data("ObjectContent", {
    obj: view.object.ref,
    propSet: [...view.values].map(([name, val]) => data("DynamicProperty", { name, val })),
    missingSet: missingSet(view),
  });
}

export function missingSet(view: ObjectView): Data[] {
  return [...view.failures].map(([path, problem]) => data("MissingProperty", { path, fault: localized(problem) }));
}
