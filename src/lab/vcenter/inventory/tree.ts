import type { Machine } from "../../machine.js";
import type { World } from "../../world.js";
import { moref, type Moref } from "../values.js";
import { escapeName } from "./names.js";

/** A place in the inventory: what it is called and where it hangs. */
export interface Node {
  readonly ref: Moref;
  /** As stored, escaped. */
  readonly name: string;
  readonly parent: Node | undefined;
  readonly children: Node[];
  readonly machine: Machine | undefined;
}

/** The inventory as a tree, with references that stay the same from run to run. */
export class InventoryTree {
  readonly root: Node;
  readonly datacenter: Node;
  readonly vmFolder: Node;
  readonly hostFolder: Node;
  readonly datastoreFolder: Node;
  readonly networkFolder: Node;
  readonly cluster: Node;
  readonly host: Node;
  readonly pool: Node;
  readonly network: Node;
  readonly #nodes = new Map<string, Node>();

  constructor(world: World, hostName: string) {
    this.root = this.#add("Folder", "group-d1", "Datacenters", undefined);
    this.datacenter = this.#add("Datacenter", "datacenter-2", world.datacenter, this.root);
    this.vmFolder = this.#add("Folder", "group-v3", "vm", this.datacenter);
    this.hostFolder = this.#add("Folder", "group-h4", "host", this.datacenter);
    this.datastoreFolder = this.#add("Folder", "group-s5", "datastore", this.datacenter);
    this.networkFolder = this.#add("Folder", "group-n6", "network", this.datacenter);
    this.cluster = this.#add("ComputeResource", "domain-s7", hostName, this.hostFolder);
    this.host = this.#add("HostSystem", "host-8", hostName, this.cluster);
    this.pool = this.#add("ResourcePool", "resgroup-9", "Resources", this.cluster);
    this.network = this.#add("Network", "network-10", "VM Network", this.networkFolder);
    for (const [index, name] of world.datastores.entries()) {
      this.#add("Datastore", `datastore-${11 + index}`, name, this.datastoreFolder);
    }
    for (const machine of world.machines) {
      this.#add("VirtualMachine", machine.ref, machine.name, this.#folder(machine.settings.folder), machine);
    }
  }

  get(ref: string): Node | undefined {
    return this.#nodes.get(ref);
  }

  datastore(name: string): Node | undefined {
    return this.datastoreFolder.children.find((node) => node.name === escapeName(name));
  }

  get datastores(): readonly Node[] {
    return this.datastoreFolder.children;
  }

  get machines(): readonly Node[] {
    return [...this.#nodes.values()].filter((node) => node.machine !== undefined);
  }

  below(container: Node): Node[] {
    return container.children.flatMap((child) => [child, ...this.below(child)]);
  }

  #folder(names: readonly string[]): Node {
    let at = this.vmFolder;
    for (const name of names) {
      const known: Node | undefined = at.children.find(
        (child) => child.ref.type === "Folder" && child.name === escapeName(name),
      );
      at = known ?? this.#add("Folder", `group-v${1001 + this.#nodes.size}`, name, at);
    }
    return at;
  }

  #add(type: string, ref: string, name: string, parent: Node | undefined, machine?: Machine): Node {
    const node: Node = { ref: moref(type, ref), name: escapeName(name), parent, children: [], machine };
    parent?.children.push(node);
    this.#nodes.set(ref, node);
    return node;
  }
}
