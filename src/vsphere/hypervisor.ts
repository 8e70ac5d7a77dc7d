import { MissingCapabilityError, NotFoundError, RefusedError } from "../errors.js";
import {
  type CallOptions,
  type ConfigFile,
  type Consolidation,
  type DiskDescription,
  diskNodeName,
  type Hypervisor,
  type InventoryEntry,
  type OpenDiskOptions,
  type OpenedDisk,
  type ServerIdentity,
  type Snapshot,
  type SnapshotSpec,
  type TaskOptions,
  type VmDescription,
  type VmIdentity,
} from "../hypervisor.js";
import { type LocatorForm, shownForm } from "../locator.js";
import type { Logger } from "../log.js";
import { loadAllocation, withAllocation } from "./allocation.js";
import { browse } from "./browse.js";
import { readConfigFiles } from "./config-files.js";
import { consolidate } from "./consolidation.js";
import { DatastoreClient } from "./datastore-client.js";
import { describe, type DescribedVm } from "./describe.js";
import { translating } from "./fault-errors.js";
import type { HttpClient } from "../https/http-client.js";
import { VsphereHealth } from "./health.js";
import { openHttpsDisk } from "./https-disk.js";
import type { VsphereLimits } from "./limits.js";
import { locate } from "./locate.js";
import { PropertyCollector } from "./property-collector.js";
import { currentTime } from "./requests.js";
import { SESSION_COOKIE } from "./cookies.js";
import type { Session } from "./session.js";
import { Snapshots } from "./snapshots.js";
import type { MoRef } from "./soap-message.js";
import { TaskWaiter } from "./task.js";

export interface VsphereParts {
  readonly identity: ServerIdentity;
  readonly http: HttpClient;
  readonly session: Session;
  readonly limits: VsphereLimits;
  readonly logger: Logger;
}

/** vCenter or ESXi behind the hypervisor seam: puts the parts together and names the action in every error. */
export class Vsphere implements Hypervisor {
  readonly identity: ServerIdentity;
  readonly snapshots = "supported";
  readonly health: VsphereHealth;
  readonly #parts: VsphereParts;
  readonly #properties: PropertyCollector;
  readonly #tasks: TaskWaiter;
  readonly #snapshots: Snapshots;
  readonly #datastores: DatastoreClient;
  /** The snapshot that was described last, for opening its disks: what a snapshot holds does not change. */
  #frozen: { readonly vm: string; readonly snapshot: string; readonly described: DescribedVm } | undefined;

  constructor(parts: VsphereParts) {
    const { session, limits, logger } = parts;
    this.identity = parts.identity;
    this.#parts = parts;
    this.#properties = new PropertyCollector(session, limits);
    this.#tasks = new TaskWaiter(session, this.#properties, limits, logger);
    this.#snapshots = new Snapshots({ session, properties: this.#properties, tasks: this.#tasks, limits, logger });
    this.health = new VsphereHealth({ session, properties: this.#properties, identity: parts.identity });
    this.#datastores = new DatastoreClient(parts.http, session, limits);
  }

  async sessionCookie(givenUp?: AbortSignal): Promise<string | undefined> {
    const { session, limits } = this.#parts;
    const tooLong = AbortSignal.timeout(limits.callMs);
    const signal = givenUp === undefined ? tooLong : AbortSignal.any([tooLong, givenUp]);
    await translating("Cannot ask whether the session goes on", () => session.call(currentTime(), { signal }));
    // Whoever names a session outside of HTTP leaves out the quotes of its value.
    return session.cookies.value(SESSION_COOKIE)?.replace(/^"(.*)"$/, "$1");
  }

  async browse(path: string, { signal }: CallOptions): Promise<InventoryEntry[]> {
    const scope = { session: this.#parts.session, properties: this.#properties, signal };
    return translating(`Cannot list "${path}"`, () => browse(path, scope));
  }

  async findVms(form: LocatorForm, { signal }: CallOptions): Promise<VmIdentity[]> {
    const scope = { session: this.#parts.session, properties: this.#properties, signal };
    return translating(`Cannot look up ${shownForm(form)} on ${this.identity.url}`, () => locate(form, scope));
  }

  async describeVm(
    vm: string,
    options: CallOptions & { readonly snapshot?: string | undefined },
  ): Promise<VmDescription> {
    const { snapshot, signal } = options;
    const described = await this.#describe(vm, snapshot, signal);
    if (snapshot !== undefined) this.#frozen = { vm, snapshot, described };
    return described.description;
  }

  async createSnapshot(vm: string, spec: SnapshotSpec, options: TaskOptions): Promise<Snapshot> {
    return translating(`Cannot create a snapshot of ${vm}`, () => this.#snapshots.create(vmRef(vm), spec, options));
  }

  async settleSnapshots(vm: string, options: TaskOptions): Promise<void> {
    const action = `Cannot wait for the snapshot tasks of ${vm}`;
    await translating(action, () => this.#snapshots.settle(vmRef(vm), options));
  }

  async listSnapshots(vm: string, { signal }: CallOptions): Promise<Snapshot[]> {
    return translating(`Cannot list the snapshots of ${vm}`, () => this.#snapshots.list(vmRef(vm), signal));
  }

  async removeSnapshot(snapshot: string, options: TaskOptions): Promise<void> {
    const action = `Cannot remove snapshot ${snapshot}`;
    await translating(action, () => this.#snapshots.remove(snapshotRef(snapshot), options));
  }

  async consolidate(vm: string, options: TaskOptions): Promise<Consolidation> {
    const { session, logger } = this.#parts;
    const parts = { session, logger, properties: this.#properties, tasks: this.#tasks };
    return translating(`Cannot consolidate the disks of ${vm}`, () => consolidate(vmRef(vm), parts, options));
  }

  listOrphans(): Promise<Snapshot[]> {
    return Promise.resolve([]);
  }

  async openDisk(
    at: { readonly vm: string; readonly snapshot: string | undefined; readonly disk: DiskDescription },
    { signal, allocation: asked }: OpenDiskOptions,
  ): Promise<OpenedDisk> {
    const { snapshot } = at;
    if (snapshot === undefined) throw new RefusedError(`Cannot open ${at.disk.label} of ${at.vm}: it is not frozen`);
    // Paths and change ids of the snapshot count: the caller's description may be of the running VM.
    const { description, lineage } = await this.#describeFrozen(at.vm, snapshot, signal);
    const vmName = description.identity.name;
    const disk = description.disks.find(({ key }) => key === at.disk.key);
    const shown = `"${at.disk.label}" (${diskNodeName(at.disk.node)}) of "${vmName}"`;
    if (disk === undefined) throw new NotFoundError(`Cannot open ${shown}: snapshot ${snapshot} does not hold it`);
    if (disk.excludedBecause !== undefined) {
      throw new MissingCapabilityError(`Cannot open ${shown}: ${disk.excludedBecause}`);
    }
    const { datacenterPath } = lineage;
    return translating(`Cannot open ${shown}`, async () => {
      const source = await openHttpsDisk({ vmName, disk, datacenterPath }, this.#datastores, signal);
      if (asked === "off") return { source, transport: "https", allocation: "unknown: not asked for (allocation off)" };
      const allocation = await loadAllocation(
        {
          vm: vmRef(at.vm),
          snapshot: snapshotRef(snapshot),
          deviceKey: Number(disk.key),
          isTracked: description.changeTracking && disk.changeId !== undefined,
        },
        source,
        { ...this.#parts, signal },
      );
      return { source: withAllocation(source, allocation.map), transport: "https", allocation: allocation.text };
    });
  }

  async readConfig(vm: string, { signal }: CallOptions): Promise<ConfigFile[]> {
    const { description, lineage } = await this.#describe(vm, undefined, signal);
    const path = description.configPath;
    if (path === undefined) {
      throw new NotFoundError(
        `Cannot read the configuration of "${description.identity.name}": the server names no file`,
      );
    }
    return readConfigFiles({ path, datacenterPath: lineage.datacenterPath }, this.#datastores, signal);
  }

  async #describeFrozen(vm: string, snapshot: string, signal: AbortSignal): Promise<DescribedVm> {
    const last = this.#frozen;
    if (last?.vm === vm && last.snapshot === snapshot) return last.described;
    return await this.#describe(vm, snapshot, signal);
  }

  async #describe(vm: string, snapshot: string | undefined, signal: AbortSignal): Promise<DescribedVm> {
    const at = { vm: vmRef(vm), snapshot: snapshot === undefined ? undefined : snapshotRef(snapshot) };
    const what = snapshot === undefined ? `VM ${vm}` : `VM ${vm} at ${snapshot}`;
    return translating(`Cannot describe ${what}`, () => describe(at, this.#properties, signal));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    try {
      await this.#parts.session[Symbol.asyncDispose]();
    } finally {
      await this.#parts.http[Symbol.asyncDispose]();
    }
  }
}

function vmRef(id: string): MoRef {
  return { type: "VirtualMachine", id };
}

function snapshotRef(id: string): MoRef {
  return { type: "VirtualMachineSnapshot", id };
}
