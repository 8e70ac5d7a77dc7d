import { fault, type Fault } from "./faults.js";
import { managedObject, type ManagedObject, type ObjectDirectory, type ObjectSource } from "./objects.js";
import { evaluateFilter, missingSet, type ObjectView } from "./retrieve.js";
import { writeAny } from "./serialize.js";
import type { Session } from "./sessions.js";
import { data, moref, type Data, type Moref, type Value } from "./values.js";

/** Filters of one collector: a client that leaks them is told. */
const FILTERS_MAX = 1000;

interface Filter {
  readonly ref: Moref;
  readonly spec: Data;
  readonly partialUpdates: boolean;
  /** What the client has been told: value text by property path, for each object. */
  readonly told: Map<string, { readonly ref: Moref; readonly values: Map<string, string> }>;
}

/** A property collector with its filters: knows what its client has been told and says what has changed since. */
export class Collector {
  readonly ref: Moref;
  readonly session: Session;
  readonly #objects: ObjectDirectory;
  readonly #filters = new Map<string, Filter>();
  #version = 0;
  /** Ends the wait that is going on, with a fault. */
  cancelWait: ((reason: Fault) => void) | undefined;

  constructor(ref: Moref, session: Session, objects: ObjectDirectory) {
    this.ref = ref;
    this.session = session;
    this.#objects = objects;
  }

  get filters(): Moref[] {
    return [...this.#filters.values()].map((filter) => filter.ref);
  }

  addFilter(id: string, spec: Data, partialUpdates: boolean): Moref {
    if (this.#filters.size >= FILTERS_MAX) throw fault("InvalidArgument", { invalidProperty: "spec" });
    // A wrong filter is refused here and not at the first wait.
    evaluateFilter(spec, this.#objects, this.session);
    const ref = moref("PropertyFilter", id);
    this.#filters.set(id, { ref, spec, partialUpdates, told: new Map() });
    return ref;
  }

  removeFilter(id: string): boolean {
    return this.#filters.delete(id);
  }

  findFilter(id: string): ManagedObject | undefined {
    const filter = this.#filters.get(id);
    if (filter === undefined) return undefined;
    const { ref, spec, partialUpdates } = filter;
    return managedObject(ref, { spec: () => spec, partialUpdates: () => partialUpdates });
  }

  /** @throws Fault InvalidCollectorVersion; the empty version begins anew */
  begin(version: string): void {
    if (version === "") for (const filter of this.#filters.values()) filter.told.clear();
    else if (version !== String(this.#version)) throw fault("InvalidCollectorVersion");
  }

  /** The next `UpdateSet`, or undefined when nothing has changed. */
  updates(maxObjects: number): Data | undefined {
    let room = maxObjects;
    let truncated = false;
    const filterSet: Data[] = [];
    for (const filter of this.#filters.values()) {
      const objectSet: Data[] = [];
      for (const change of this.#changes(filter)) {
        if (room === 0) {
          truncated = true;
          break;
        }
        room--;
        change.tell();
        objectSet.push(change.update);
      }
      if (objectSet.length > 0) filterSet.push(data("PropertyFilterUpdate", { filter: filter.ref, objectSet }));
    }
    if (filterSet.length === 0) return undefined;
    this.#version++;
    return data("UpdateSet", {
      version: String(this.#version),
      filterSet,
      ...(truncated ? { truncated } : {}),
    });
  }

  *#changes(filter: Filter): Generator<{ readonly update: Data; readonly tell: () => void }> {
    const views = this.#viewsOf(filter);
    for (const view of views) {
      const change = changeOf(view, filter);
      if (change !== undefined) yield change;
    }
    const present = new Set(views.map((view) => view.object.ref.ref));
    for (const [id, { ref }] of [...filter.told]) {
      if (present.has(id)) continue;
      yield { update: data("ObjectUpdate", { kind: "leave", obj: ref }), tell: () => filter.told.delete(id) };
    }
  }

  /** A start object that has gone takes its whole view along: the client sees `leave`. */
  #viewsOf(filter: Filter): ObjectView[] {
    const spec = data(filter.spec.is, { ...filter.spec.fields, reportMissingObjectsInResults: true });
    return evaluateFilter(spec, this.#objects, this.session);
  }
}

function changeOf(view: ObjectView, filter: Filter): { readonly update: Data; readonly tell: () => void } | undefined {
  const { ref } = view.object;
  const known = filter.told.get(ref.ref);
  const values = new Map([...view.values].map(([path, value]) => [path, writeAny("val", value)]));
  const changeSet: Data[] = [];
  for (const [path, text] of values) {
    if (known?.values.get(path) === text) continue;
    changeSet.push(propertyChange(path, view.values.get(path)));
  }
  for (const path of known?.values.keys() ?? []) {
    if (!values.has(path)) changeSet.push(propertyChange(path, undefined));
  }
  if (known !== undefined && changeSet.length === 0) return undefined;
  const update = data("ObjectUpdate", {
    kind: known === undefined ? "enter" : "modify",
    obj: ref,
    changeSet,
    missingSet: missingSet(view),
  });
  return { update, tell: () => filter.told.set(ref.ref, { ref, values }) };
}

/** A property that is unset now comes as an assignment without a value. */
function propertyChange(name: string, val: Value | undefined): Data {
  return data("PropertyChange", { name, op: "assign", ...(val === undefined ? {} : { val }) });
}

/** The collectors of every session: each has the default one and those it has made. */
export class Collectors implements ObjectSource {
  static readonly DEFAULT = "propertyCollector";
  readonly #objects: ObjectDirectory;
  readonly #bySession = new Map<string, Map<string, Collector>>();
  #next = 1;

  constructor(objects: ObjectDirectory) {
    this.#objects = objects;
  }

  get(id: string, session: Session): Collector | undefined {
    const own = this.#bySession.get(session.key) ?? new Map<string, Collector>();
    this.#bySession.set(session.key, own);
    if (id === Collectors.DEFAULT && !own.has(id)) {
      own.set(id, new Collector(moref("PropertyCollector", id), session, this.#objects));
    }
    return own.get(id);
  }

  create(session: Session): Collector {
    const id = this.nextId(session);
    const collector = new Collector(moref("PropertyCollector", id), session, this.#objects);
    this.get(Collectors.DEFAULT, session);
    this.#bySession.get(session.key)?.set(id, collector);
    return collector;
  }

  destroy(collector: Collector): void {
    collector.cancelWait?.(fault("RequestCanceled"));
    this.#bySession.get(collector.session.key)?.delete(collector.ref.ref);
  }

  /** `session[…]…`: the form in which a vCenter names what belongs to one session. */
  nextId(session: Session): string {
    return `session[${session.key}]${(this.#next++).toString(16).padStart(8, "0")}-52ab`;
  }

  ownerOf(filterId: string, session: Session): Collector | undefined {
    const own = this.#bySession.get(session.key)?.values() ?? [];
    return [...own].find((collector) => collector.findFilter(filterId) !== undefined);
  }

  endSession(key: string): void {
    for (const collector of this.#bySession.get(key)?.values() ?? []) {
      collector.cancelWait?.(fault("NotAuthenticated", { object: collector.ref, privilegeId: "System.View" }));
    }
    this.#bySession.delete(key);
  }

  find(ref: string, session: Session): ManagedObject | undefined {
    const collector = this.get(ref, session);
    if (collector !== undefined) return managedObject(collector.ref, { filter: () => collector.filters });
    return this.ownerOf(ref, session)?.findFilter(ref);
  }
}
