import { fault } from "./faults.js";
import { managedObject, type ManagedObject, type ObjectSource } from "./objects.js";
import { isManaged } from "./schema/lookup.js";
import type { Session } from "./sessions.js";
import { moref, type Moref } from "./values.js";

/** Views of one session. */
const VIEWS_MAX = 1000;

interface View {
  readonly ref: Moref;
  readonly container: Moref;
  readonly types: readonly string[];
  readonly recursive: boolean;
}

/** Container views: each lists the objects below a container, as they are at the moment of asking. */
export class Views implements ObjectSource {
  readonly #bySession = new Map<string, Map<string, View>>();
  readonly #below: (container: Moref, recursive: boolean) => readonly Moref[];

  /** @param below the entities inside a container */
  constructor(below: (container: Moref, recursive: boolean) => readonly Moref[]) {
    this.#below = below;
  }

  create(id: string, container: Moref, types: readonly string[], recursive: boolean, session: Session): Moref {
    const own = this.#bySession.get(session.key) ?? new Map<string, View>();
    this.#bySession.set(session.key, own);
    if (own.size >= VIEWS_MAX) throw fault("InvalidArgument", { invalidProperty: "container" });
    const ref = moref("ContainerView", id);
    own.set(id, { ref, container, types, recursive });
    return ref;
  }

  destroy(id: string, session: Session): boolean {
    return this.#bySession.get(session.key)?.delete(id) ?? false;
  }

  endSession(key: string): void {
    this.#bySession.delete(key);
  }

  list(session: Session): Moref[] {
    return [...(this.#bySession.get(session.key)?.values() ?? [])].map((view) => view.ref);
  }

  find(id: string, session: Session): ManagedObject | undefined {
    const view = this.#bySession.get(session.key)?.get(id);
    if (view === undefined) return undefined;
    return managedObject(view.ref, {
      container: () => view.container,
      type: () => view.types,
      recursive: () => view.recursive,
      view: () => this.#below(view.container, view.recursive).filter((ref) => isWanted(ref, view.types)),
    });
  }
}

function isWanted(ref: Moref, types: readonly string[]): boolean {
  return types.length === 0 || types.some((type) => isManaged(ref.type, type));
}
