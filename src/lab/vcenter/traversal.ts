import { Arguments } from "./arguments.js";
import { fault, notFound } from "./faults.js";
import type { ManagedObject, ObjectDirectory } from "./objects.js";
import { checkPath, valueAt } from "./property-path.js";
import { isManaged, managedShape } from "./schema/lookup.js";
import type { Session } from "./sessions.js";
import { isList, isMoref, type Data, type Moref, type Value } from "./values.js";

/** A `SelectionSpec` of a request: a traversal, or the name of one. */
interface Selection {
  readonly name: string | undefined;
  readonly traversal: Traversal | undefined;
}

interface Traversal {
  readonly type: string;
  readonly path: string;
  readonly skip: boolean;
  readonly selections: readonly Selection[];
}

/** Objects that one filter may reach: more is a loop or an attack. */
const OBJECTS_MAX = 100_000;

function selectionsOf(specs: readonly Data[], named: Map<string, Traversal>): Selection[] {
  return specs.map((spec) => {
    const fields = new Arguments(spec.fields);
    const name = fields.text("name");
    if (spec.is !== "TraversalSpec") return { name, traversal: undefined };
    const type = fields.text("type") ?? "";
    const path = fields.text("path") ?? "";
    if (managedShape(type) !== undefined) checkPath(type, path);
    const traversal: Traversal = {
      type,
      path,
      skip: fields.flag("skip") ?? false,
      selections: selectionsOf(fields.each("selectSet"), named),
    };
    if (name !== undefined) named.set(name, traversal);
    return { name, traversal };
  });
}

/** Walks from the start objects of a `PropertyFilterSpec` and collects every object that is not skipped, once. */
export class Walk {
  readonly #objects: ObjectDirectory;
  readonly #session: Session;
  readonly #named = new Map<string, Traversal>();
  readonly #walked = new Map<Traversal, Set<string>>();
  readonly #selected = new Map<string, ManagedObject>();
  readonly missing: Moref[] = [];

  constructor(objects: ObjectDirectory, session: Session) {
    this.#objects = objects;
    this.#session = session;
  }

  /** @throws Fault ManagedObjectNotFound for a missing start object unless `tolerant` */
  run(objectSet: readonly Data[], tolerant: boolean): ManagedObject[] {
    const starts = objectSet.map((spec) => {
      const fields = new Arguments(spec.fields);
      const selections = selectionsOf(fields.each("selectSet"), this.#named);
      return { obj: fields.ref("obj"), skip: fields.flag("skip") ?? false, selections };
    });
    for (const { obj, skip, selections } of starts) {
      const object = obj === undefined ? undefined : this.#objects.find(obj, this.#session);
      if (object !== undefined) this.#visit(object, skip, selections);
      else if (obj !== undefined && tolerant) this.missing.push(obj);
      else if (obj !== undefined) throw notFound(obj);
    }
    return [...this.#selected.values()];
  }

  #visit(object: ManagedObject, skip: boolean, selections: readonly Selection[]): void {
    if (!skip) this.#selected.set(object.ref.ref, object);
    if (this.#selected.size > OBJECTS_MAX) throw fault("InvalidArgument", { invalidProperty: "specSet" });
    for (const { name, traversal } of selections) {
      const actual = traversal ?? (name === undefined ? undefined : this.#named.get(name));
      if (actual === undefined) throw fault("InvalidArgument", { invalidProperty: "selectSet.name" });
      if (isManaged(object.ref.type, actual.type)) this.#follow(object, actual);
    }
  }

  #follow(object: ManagedObject, traversal: Traversal): void {
    const walked = this.#walked.get(traversal) ?? new Set<string>();
    this.#walked.set(traversal, walked);
    if (walked.has(object.ref.ref)) return;
    walked.add(object.ref.ref);
    for (const ref of refsIn(valueAt(object, traversal.path, this.#session)?.value)) {
      const next = this.#objects.find(ref, this.#session);
      if (next !== undefined) this.#visit(next, traversal.skip, traversal.selections);
    }
  }
}

function refsIn(value: Value | undefined): readonly Moref[] {
  if (isMoref(value)) return [value];
  return isList(value) ? value.filter(isMoref) : [];
}
