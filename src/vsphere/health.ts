import { MissingCapabilityError } from "../errors.js";
import type { Happening, HealthCall, HostPort, Right, ServerHealth, StorageRoom } from "../health.js";
import type { ServerIdentity } from "../hypervisor.js";
import { unescapeInventoryName } from "../locator.js";
import { childrenNamed, textAt, toMoRef } from "./element.js";
import { translating } from "./fault-errors.js";
import { isMissingMethod } from "./faults.js";
import { recentEvents, recentTasks } from "./happenings.js";
import { type PrivilegedObject, rightsOn } from "./privileges.js";
import type { ObjectProperties, PropertyCollector } from "./property-collector.js";
import { currentTime } from "./requests.js";
import type { Session } from "./session.js";
import type { MoRef } from "./soap-message.js";
import type { XmlElement } from "./xml.js";

/** A VM's disks and CD images lie on a handful of datastores. */
const DATASTORES_MAX = 256;
/** Folders nest to any depth in theory; a chain longer than this is a cycle. */
const DEPTH_MAX = 100;
/** Where VDDK talks to a host: its API, and its disk service (NFC). */
const VDDK_PORTS = [443, 902];

/** What vCenter and ESXi tell of themselves. */
export class VsphereHealth implements ServerHealth {
  /** vSphere stops at 32 snapshots. */
  readonly chainMax = 32;
  readonly #session: Session;
  readonly #properties: PropertyCollector;
  readonly #identity: ServerIdentity;

  constructor(parts: {
    readonly session: Session;
    readonly properties: PropertyCollector;
    readonly identity: ServerIdentity;
  }) {
    this.#session = parts.session;
    this.#properties = parts.properties;
    this.#identity = parts.identity;
  }

  clock({ signal }: HealthCall): Promise<Date> {
    return translating("Cannot ask for the server's time", async () => {
      const response = await this.#session.call(currentTime(), { signal });
      return new Date(textAt(response, "returnval") ?? "");
    });
  }

  rights(vm: string | undefined, { signal }: HealthCall): Promise<readonly Right[]> {
    return translating("Cannot ask for privileges", async () => {
      const { rootFolder, about } = this.#session.content;
      const root: PrivilegedObject = { on: "root", ref: rootFolder, shown: "the root folder" };
      const objects = [
        ...(about.isVcenter ? [root] : []),
        ...(vm === undefined ? [] : await this.#objectsOf(vm, signal)),
      ];
      if (objects.length === 0) {
        throw new MissingCapabilityError("Privileges are asked for on a VM, and none is named");
      }
      return await rightsOn(objects, { session: this.#session, properties: this.#properties }, signal);
    });
  }

  ports(vm: string | undefined, { signal }: HealthCall): Promise<readonly HostPort[]> {
    if (vm === undefined) return Promise.resolve([]);
    return translating("Cannot ask for the host of the VM", async () => {
      const { values } = await this.#properties.ofObject(vmRef(vm), ["runtime.host"], signal);
      const host = values.get("runtime.host");
      if (host === undefined) return [];
      const name =
        (await this.#properties.ofObject(toMoRef(host), ["name"], signal)).values.get("name")?.text ?? host.text;
      // A host that is asked directly calls itself "localhost" as often as not.
      const isVcenter = this.#session.content.about.isVcenter;
      const address = isVcenter ? name : new URL(this.#identity.url).hostname.replace(/^\[(.*)\]$/, "$1");
      return VDDK_PORTS.map((port) => ({ host: name, address, port, transports: ["nbdssl", "nbd"] }));
    });
  }

  storages(vm: string, { signal }: HealthCall): Promise<readonly StorageRoom[]> {
    return translating("Cannot ask for the datastores of the VM", async () => {
      const datastores = await this.#datastoresOf(vm, signal);
      const query = [{ type: "Datastore", paths: ["summary"] }];
      const found = await this.#properties.ofObjects(datastores, query, signal);
      return found.map(({ obj, values }) => {
        const summary = values.get("summary");
        return {
          name: `datastore "${unescapeInventoryName(textAt(summary, "name") ?? obj.id)}"`,
          type: textAt(summary, "type") ?? "of an unknown kind",
          freeBytes: count(textAt(summary, "freeSpace")),
          totalBytes: count(textAt(summary, "capacity")),
          snapshotBytes: 0,
        };
      });
    });
  }

  happenings(vm: string, { signal, max }: HealthCall & { readonly max: number }): Promise<readonly Happening[]> {
    return translating("Cannot ask for tasks and events", async () => {
      const scope = { session: this.#session, properties: this.#properties };
      const tasks = await recentTasks(vmRef(vm), scope, signal);
      try {
        const events = await recentEvents(vmRef(vm), scope, { signal, max });
        return [...tasks, ...events].sort((a, b) => (a.time < b.time ? -1 : a.time > b.time ? 1 : 0)).slice(-max);
      } catch (error) {
        if (!isMissingMethod(error)) throw error;
        return tasks.slice(-max);
      }
    });
  }

  async #datastoresOf(vm: string, signal: AbortSignal): Promise<MoRef[]> {
    const { values } = await this.#properties.ofObject(vmRef(vm), ["datastore"], signal);
    return childrenNamed(values.get("datastore"), "ManagedObjectReference").slice(0, DATASTORES_MAX).map(toMoRef);
  }

  /** The VM, its datastores and its datacenter. */
  async #objectsOf(vm: string, signal: AbortSignal): Promise<PrivilegedObject[]> {
    const datastores = await this.#datastoresOf(vm, signal);
    const datacenter = await this.#datacenterOf(vmRef(vm), signal);
    const refs = [vmRef(vm), ...datastores, ...(datacenter === undefined ? [] : [datacenter])];
    const queries = ["VirtualMachine", "Datastore", "Datacenter"].map((type) => ({ type, paths: ["name"] }));
    const found = await this.#properties.ofObjects(refs, queries, signal);
    const names = new Map(
      found.map(({ obj, values }) => [obj.id, unescapeInventoryName(values.get("name")?.text ?? obj.id)]),
    );
    const shown = (ref: MoRef): string => `"${names.get(ref.id) ?? ref.id}"`;
    return refs.map((ref) => {
      if (ref.type === "Datastore") return { on: "datastore", ref, shown: `datastore ${shown(ref)}` };
      if (ref.type === "Datacenter") return { on: "datacenter", ref, shown: `datacenter ${shown(ref)}` };
      return { on: "vm", ref, shown: `VM ${shown(ref)}` };
    });
  }

  /** Follows the parents upward; a VM in a vApp hangs in no folder. */
  async #datacenterOf(vm: MoRef, signal: AbortSignal): Promise<MoRef | undefined> {
    let at: MoRef | undefined = vm;
    for (let depth = 0; at !== undefined && depth < DEPTH_MAX; depth++) {
      if (at.type === "Datacenter") return at;
      const paths: readonly string[] = PARENT_PATHS[at.type] ?? ["parent"];
      const { values }: ObjectProperties = await this.#properties.ofObject(at, paths, signal);
      const parent: XmlElement | undefined = paths
        .map((path) => values.get(path))
        .find((value) => value !== undefined && value.text !== "");
      at = parent === undefined ? undefined : toMoRef(parent);
    }
    return undefined;
  }
}

const PARENT_PATHS: Readonly<Record<string, readonly string[]>> = {
  VirtualMachine: ["parent", "parentVApp"],
  VirtualApp: ["parentFolder", "parentVApp"],
};

function vmRef(id: string): MoRef {
  return { type: "VirtualMachine", id };
}

/** Undefined for what is no count: a datastore that cannot be reached says nothing that can be used. */
function count(text: string | undefined): number | undefined {
  const value = Number(text ?? "-1");
  return Number.isSafeInteger(value) && value >= 0 ? value : undefined;
}
