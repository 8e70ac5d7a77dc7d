import { IntegrityError } from "../errors.js";
import { child, childrenNamed, textAt, toMoRef } from "./element.js";
import { parseMethodFault } from "./faults.js";
import type { VsphereLimits } from "./limits.js";
import {
  continueRetrievePropertiesEx,
  createContainerView,
  destroyView,
  type ObjectSelection,
  type PropertyQuery,
  retrievePropertiesEx,
} from "./requests.js";
import { type Session, SessionExpired, type SoapCall } from "./session.js";
import type { MoRef } from "./soap-message.js";
import type { XmlElement } from "./xml.js";

/** One object and those of its properties that are set and readable. */
export interface ObjectProperties {
  readonly obj: MoRef;
  readonly values: ReadonlyMap<string, XmlElement>;
  /** Path to fault name, for what could not be read. */
  readonly missing: ReadonlyMap<string, string>;
}

/** Reads properties of objects, page by page. */
export class PropertyCollector {
  readonly #session: Session;
  readonly #limits: VsphereLimits;

  constructor(session: Session, limits: VsphereLimits) {
    this.#session = session;
    this.#limits = limits;
  }

  /** @throws SoapFault, ManagedObjectNotFound when the object is gone */
  async ofObject(obj: MoRef, paths: readonly string[], signal: AbortSignal): Promise<ObjectProperties> {
    const [found] = await this.#session.run(
      (call) => this.#retrieve(call, [{ type: obj.type, paths }], [{ obj }], false, signal),
      signal,
    );
    // The server answers nothing when the object has none of these properties set.
    return found ?? { obj, values: new Map(), missing: new Map() };
  }

  /** Objects that are gone are left out. */
  async ofObjects(
    objects: readonly MoRef[],
    queries: readonly PropertyQuery[],
    signal: AbortSignal,
  ): Promise<ObjectProperties[]> {
    if (objects.length === 0) return [];
    const selections = objects.map((obj) => ({ obj }));
    const used = queries.filter(({ type }) => objects.some((obj) => obj.type === type));
    return this.#session.run((call) => this.#retrieve(call, used, selections, true, signal), signal);
  }

  /** Every object of one type in the whole inventory. */
  async ofAll(query: PropertyQuery, signal: AbortSignal): Promise<ObjectProperties[]> {
    const { viewManager, rootFolder } = this.#session.content;
    return this.#session.run(async (call) => {
      const response = await call(createContainerView(viewManager, rootFolder, [query.type]), { signal });
      const view = toMoRef(child(response, "returnval"));
      const selection: ObjectSelection = { obj: view, traverse: { type: "ContainerView", path: "view" } };
      try {
        return await this.#retrieve(call, [query], [selection], true, signal);
      } finally {
        // The view also ends with the session: failing to drop it costs nothing worth an error.
        await call(destroyView(view), { signal }).catch(() => undefined);
      }
    }, signal);
  }

  async #retrieve(
    call: SoapCall,
    queries: readonly PropertyQuery[],
    objects: readonly ObjectSelection[],
    reportMissing: boolean,
    signal: AbortSignal,
  ): Promise<ObjectProperties[]> {
    const collector = this.#session.content.propertyCollector;
    const found: ObjectProperties[] = [];
    let response = await call(retrievePropertiesEx(collector, queries, objects, reportMissing), { signal });
    for (let page = 1; ; page++) {
      const result = child(response, "returnval");
      found.push(...childrenNamed(result, "objects").map(toObjectProperties));
      const token = textAt(result, "token");
      if (token === undefined || token === "") return found;
      // A server that never stops paging must not fill the memory.
      if (page >= this.#limits.pagesMax || found.length > this.#limits.objectsMax) {
        throw new IntegrityError(`Cannot list the inventory: the server sent ${found.length} objects without an end`);
      }
      response = await call(continueRetrievePropertiesEx(collector, token), { signal });
    }
  }
}

/** @throws SessionExpired when the properties are hidden because the session ended */
function toObjectProperties(content: XmlElement): ObjectProperties {
  const values = new Map<string, XmlElement>();
  for (const property of childrenNamed(content, "propSet")) {
    const value = child(property, "val");
    if (value !== undefined) values.set(textAt(property, "name") ?? "", value);
  }
  const missing = new Map<string, string>();
  for (const property of childrenNamed(content, "missingSet")) {
    const fault = parseMethodFault(child(property, "fault") ?? property).fault;
    // Some servers answer a property read without a session like this, in place of a fault.
    if (fault === "NotAuthenticated") throw new SessionExpired("the session has ended");
    missing.set(textAt(property, "path") ?? "", fault);
  }
  return { obj: toMoRef(child(content, "obj")), values, missing };
}
