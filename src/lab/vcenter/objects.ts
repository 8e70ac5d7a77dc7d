import { notFound } from "./faults.js";
import type { Session } from "./sessions.js";
import type { Moref, Value } from "./values.js";

/** A managed object as the property collector sees it. */
export interface ManagedObject {
  readonly ref: Moref;
  /** The value of a top-level property; undefined = unset. Names are checked against the type's shape before. */
  property(name: string, session: Session): Value | undefined;
}

/** Where objects of one kind come from: looked up at every request, since machines and tasks change. */
export interface ObjectSource {
  find(ref: string, session: Session): ManagedObject | undefined;
}

/** All managed objects. A reference is unique on the server, and a wrong type with a right reference is not found. */
export class ObjectDirectory {
  readonly #sources: ObjectSource[] = [];

  add(source: ObjectSource): void {
    this.#sources.push(source);
  }

  find(wanted: Moref, session: Session): ManagedObject | undefined {
    for (const source of this.#sources) {
      const found = source.find(wanted.ref, session);
      if (found !== undefined) return found;
    }
    return undefined;
  }

  /** @throws Fault ManagedObjectNotFound */
  get(wanted: Moref, session: Session): ManagedObject {
    const found = this.find(wanted, session);
    if (found === undefined) throw notFound(wanted);
    return found;
  }
}

/** An object whose properties are functions of nothing but the server's state. */
export function managedObject(
  ref: Moref,
  properties: Readonly<Record<string, (session: Session) => Value | undefined>>,
): ManagedObject {
  return {
    ref,
    property: (name, session) => (Object.hasOwn(properties, name) ? properties[name]?.(session) : undefined),
  };
}
