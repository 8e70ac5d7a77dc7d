import { NotFoundError } from "../errors.js";
import type { InventoryEntry } from "../hypervisor.js";
import { joinInventoryPath, splitInventoryPath, unescapeInventoryName } from "../locator.js";
import { childrenNamed, toMoRef } from "./element.js";
import type { ObjectProperties, PropertyCollector } from "./property-collector.js";
import type { Session } from "./session.js";
import type { MoRef } from "./soap-message.js";
import { IDENTITY_PATHS, toIdentity } from "./vm-identity.js";
import type { XmlElement } from "./xml.js";

interface Scope {
  readonly session: Session;
  readonly properties: PropertyCollector;
  readonly signal: AbortSignal;
}

interface Place {
  readonly obj: MoRef;
  /** Unescaped names from the top. */
  readonly names: readonly string[];
}

const KINDS: Readonly<Record<string, InventoryEntry["kind"]>> = {
  Datacenter: "datacenter",
  Folder: "folder",
  VirtualApp: "vapp",
  VirtualMachine: "vm",
};
const CHILD_QUERIES = [
  { type: "Datacenter", paths: ["name"] },
  { type: "Folder", paths: ["name"] },
  { type: "VirtualApp", paths: ["name"] },
  { type: "VirtualMachine", paths: IDENTITY_PATHS },
];

/**
 * One level of the inventory, datacenters and folders first. The path of a VM lists that VM alone.
 * @throws NotFoundError when nothing is there
 */
export async function browse(path: string, scope: Scope): Promise<InventoryEntry[]> {
  let place: Place = { obj: scope.session.content.rootFolder, names: [] };
  const names = splitInventoryPath(path);
  for (const [index, name] of names.entries()) {
    const children = await childrenOf(place, scope);
    const next = children.find((object) => nameOf(object) === name);
    if (next?.obj.type === "VirtualMachine" && index === names.length - 1) return [toEntry(next, place)];
    if (next !== undefined && next.obj.type !== "VirtualMachine")
      place = { obj: next.obj, names: [...place.names, name] };
    // The long form names the datacenter's hidden folder as well.
    else if (!(name === "vm" && place.obj.type === "Datacenter")) {
      throw new NotFoundError(`Cannot list "${path}": there is no "${name}" in "${joinInventoryPath(place.names)}"`);
    }
  }
  const entries = (await childrenOf(place, scope)).map((object) => toEntry(object, place));
  const rank = (entry: InventoryEntry): string => `${entry.kind === "vm" ? 1 : 0}${entry.name}`;
  return entries.sort((a, b) => (rank(a) < rank(b) ? -1 : rank(a) > rank(b) ? 1 : 0));
}

async function childrenOf({ obj }: Place, scope: Scope): Promise<ObjectProperties[]> {
  const { properties, signal } = scope;
  const references = await childReferences(obj, scope);
  const known = references.filter(({ type }) => type in KINDS);
  return properties.ofObjects(known, CHILD_QUERIES, signal);
}

async function childReferences(obj: MoRef, { properties, signal }: Omit<Scope, "session">): Promise<MoRef[]> {
  if (obj.type === "Datacenter") {
    const { values } = await properties.ofObject(obj, ["vmFolder"], signal);
    const folder = values.get("vmFolder");
    return folder === undefined ? [] : childReferences(toMoRef(folder), { properties, signal });
  }
  if (obj.type === "VirtualApp") {
    const { values } = await properties.ofObject(obj, ["vm", "resourcePool"], signal);
    return [...references(values.get("resourcePool")), ...references(values.get("vm"))];
  }
  const { values } = await properties.ofObject(obj, ["childEntity"], signal);
  return references(values.get("childEntity"));
}

function references(array: XmlElement | undefined): MoRef[] {
  return childrenNamed(array, "ManagedObjectReference").map(toMoRef);
}

function nameOf(object: ObjectProperties): string {
  return unescapeInventoryName(object.values.get("name")?.text ?? object.obj.id);
}

function toEntry(object: ObjectProperties, place: Place): InventoryEntry {
  const name = nameOf(object);
  const names = [...place.names, name];
  const kind = KINDS[object.obj.type] ?? "folder";
  const lineage = { names, datacenterPath: undefined, datacenterDepth: 0 };
  return { kind, name, path: joinInventoryPath(names), vm: kind === "vm" ? toIdentity(object, lineage) : undefined };
}
