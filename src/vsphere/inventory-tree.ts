import { escapeInventoryName, unescapeInventoryName } from "../locator.js";
import { toMoRef } from "./element.js";
import type { ObjectProperties, PropertyCollector } from "./property-collector.js";
import type { PropertyQuery } from "./requests.js";
import type { MoRef } from "./soap-message.js";
import type { XmlElement } from "./xml.js";

/** Where an object stands in the inventory. */
export interface Lineage {
  /** Unescaped names from the top to the object, without the hidden root and `vm` folders. */
  readonly names: readonly string[];
  /** The inventory path of its datacenter, as the server writes it: `Folder/DC`. */
  readonly datacenterPath: string | undefined;
  /** How many of `names` lead to the datacenter, itself included. */
  readonly datacenterDepth: number;
}

interface TreeNode {
  readonly type: string;
  readonly name: string;
  readonly parent: MoRef | undefined;
}

const ANCESTOR_QUERIES: readonly PropertyQuery[] = [
  { type: "Folder", paths: ["name", "parent"] },
  { type: "Datacenter", paths: ["name", "parent"] },
  { type: "VirtualApp", paths: ["name", "parentFolder", "parentVApp"] },
];
/** Folders nest to any depth in theory; a chain longer than this is a cycle. */
const DEPTH_MAX = 100;

/** Finds out where objects stand by following their parents upward, all objects of one level with one call. */
export async function lineagesOf(
  objects: readonly ObjectProperties[],
  properties: PropertyCollector,
  signal: AbortSignal,
): Promise<Map<string, Lineage>> {
  const nodes = new Map(objects.map((object) => [object.obj.id, toNode(object)]));
  let wanted = unknownParents([...nodes.values()], nodes);
  for (let depth = 0; wanted.length > 0 && depth < DEPTH_MAX; depth++) {
    const level = (await properties.ofObjects(wanted, ANCESTOR_QUERIES, signal)).map(
      (object) => [object.obj.id, toNode(object)] as const,
    );
    for (const [id, node] of level) nodes.set(id, node);
    wanted = unknownParents(
      level.map(([, node]) => node),
      nodes,
    );
  }
  return new Map(objects.map(({ obj }) => [obj.id, lineage(obj.id, nodes)]));
}

function toNode({ obj, values }: ObjectProperties): TreeNode {
  const name = values.get("name")?.text ?? obj.id;
  // A VM inside a vApp has no parent folder; a vApp's own `parent` is its resource pool.
  const parent =
    reference(values.get("parent")) ?? reference(values.get("parentFolder")) ?? reference(values.get("parentVApp"));
  return { type: obj.type, name, parent };
}

function reference(value: XmlElement | undefined): MoRef | undefined {
  return value === undefined || value.text === "" ? undefined : toMoRef(value);
}

function unknownParents(level: readonly TreeNode[], nodes: ReadonlyMap<string, TreeNode>): MoRef[] {
  const unknown = new Map<string, MoRef>();
  for (const { parent } of level) {
    if (parent !== undefined && !nodes.has(parent.id)) unknown.set(parent.id, parent);
  }
  return [...unknown.values()];
}

function lineage(id: string, nodes: ReadonlyMap<string, TreeNode>): Lineage {
  const chain: TreeNode[] = [];
  for (
    let node = nodes.get(id);
    node !== undefined && chain.length < DEPTH_MAX;
    node = nodes.get(node.parent?.id ?? "")
  ) {
    chain.unshift(node);
  }
  const isHidden = (node: TreeNode, index: number): boolean =>
    node.type === "Folder" && (index === 0 ? node.parent === undefined : chain[index - 1]?.type === "Datacenter");
  const visible = chain.filter((node, index) => !isHidden(node, index));
  const depth = visible.findIndex((node) => node.type === "Datacenter") + 1;
  const names = visible.map((node) => unescapeInventoryName(node.name));
  const datacenterPath = depth === 0 ? undefined : names.slice(0, depth).map(escapeInventoryName).join("/");
  return { names, datacenterPath, datacenterDepth: depth };
}
