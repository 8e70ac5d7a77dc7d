import { NotFoundError, RefusedError } from "../errors.js";
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
import { describe, type DescribedVm } from "./describe.js";
import { XenHealth } from "./health.js";
import { CopyRoom } from "./disks/copy-room.js";
import { HostLoad } from "./disks/host-load.js";
import { XEN_DISK_LIMITS } from "./disks/limits.js";
import { openXenDisk } from "./disks/open-disk.js";
import type { XenVdi } from "./disks/xen-vdi.js";
import { XenImports } from "./import/half-import.js";
import { browse, locate, needVm } from "./inventory.js";
import { loadOvaDocument } from "./ova-document.js";
import { listOrphans } from "./snapshot-list.js";
import { Snapshots } from "./snapshots.js";
import { SnapshotSupport } from "./storage.js";
import type { VmDisk } from "./vm-disks.js";
import { size, text } from "./xapi/fields.js";
import { translating } from "./xapi/fault-errors.js";
import type { XenLimits } from "./xapi/limits.js";
import { parsePoolUrl } from "./xapi/pool-url.js";
import type { Xapi } from "./xapi/xapi.js";

export interface XenParts {
  readonly identity: ServerIdentity;
  readonly xapi: Xapi;
  readonly limits: XenLimits;
  readonly logger: Logger;
}

/** A pool of XenServer or XCP-ng hosts behind the hypervisor seam: puts the parts together and names the action in every error. */
export class XenPool implements Hypervisor {
  readonly identity: ServerIdentity;
  readonly snapshots = "supported";
  readonly health: XenHealth;
  readonly imports: XenImports;
  readonly #parts: XenParts;
  readonly #snapshots: Snapshots;
  /** Of all disks together: a host serves few connections. */
  readonly #nbdLoad = new HostLoad();
  readonly #copyRoom = new CopyRoom();
  #support: SnapshotSupport | undefined;
  /** Names of what was seen, for messages: faults name objects by references that mean nothing to people. */
  readonly #names = new Map<string, string>();

  constructor(parts: XenParts) {
    this.identity = parts.identity;
    this.#parts = parts;
    const { xapi, limits, logger } = parts;
    const { port } = parsePoolUrl(parts.identity.url);
    const support = (options: CallOptions): Promise<SnapshotSupport> => this.#loadSupport(options);
    this.health = new XenHealth({ xapi, port, chainMax: limits.chainMax, support });
    this.imports = new XenImports(xapi, logger);
    this.#snapshots = new Snapshots({ xapi, limits, logger, support });
  }

  browse(path: string, { signal }: CallOptions): Promise<InventoryEntry[]> {
    return this.#translating(`Cannot list "${path}"`, () => browse(path, this.#parts.xapi, { signal }));
  }

  findVms(form: LocatorForm, { signal }: CallOptions): Promise<VmIdentity[]> {
    return this.#translating(`Cannot look up ${shownForm(form)} on ${this.identity.url}`, () =>
      locate(form, this.#parts.xapi, { signal }),
    );
  }

  async describeVm(
    vm: string,
    { snapshot, signal }: CallOptions & { readonly snapshot?: string | undefined },
  ): Promise<VmDescription> {
    return (await this.#describe(vm, snapshot, signal)).description;
  }

  createSnapshot(vm: string, spec: SnapshotSpec, options: TaskOptions): Promise<Snapshot> {
    return this.#translating(`Cannot create a snapshot of ${this.#shown(vm)}`, () =>
      this.#snapshots.create(vm, spec, options),
    );
  }

  settleSnapshots(vm: string, options: TaskOptions): Promise<void> {
    const action = `Cannot wait for the snapshot tasks of ${this.#shown(vm)}`;
    return this.#translating(action, () => this.#snapshots.settle(vm, options));
  }

  listSnapshots(vm: string, { signal }: CallOptions): Promise<Snapshot[]> {
    const action = `Cannot list the snapshots of ${this.#shown(vm)}`;
    return this.#translating(action, () => this.#snapshots.list(vm, { signal }));
  }

  removeSnapshot(snapshot: string, options: TaskOptions): Promise<void> {
    const action = `Cannot remove snapshot ${snapshot}`;
    return this.#translating(action, () => this.#snapshots.remove(snapshot, options));
  }

  /** The storage of a pool merges what nobody needs by itself, some time later. */
  consolidate(): Promise<Consolidation> {
    return Promise.resolve("unneeded");
  }

  listOrphans({ signal }: CallOptions): Promise<Snapshot[]> {
    return this.#translating("Cannot list the snapshots without a VM", () => listOrphans(this.#parts.xapi, { signal }));
  }

  async openDisk(
    at: { readonly vm: string; readonly snapshot: string | undefined; readonly disk: DiskDescription },
    options: OpenDiskOptions,
  ): Promise<OpenedDisk> {
    const { snapshot } = at;
    if (snapshot === undefined) throw new RefusedError(`Cannot open ${at.disk.label} of ${at.vm}: it is not frozen`);
    const { description, disks } = await this.#describe(at.vm, snapshot, options.signal);
    const disk = disks.find(({ vbd }) => text(vbd, "userdevice") === at.disk.key);
    const shown = `"${at.disk.label}" (${diskNodeName(at.disk.node)}) of "${description.identity.name}"`;
    if (disk === undefined) throw new NotFoundError(`Cannot open ${shown}: snapshot ${snapshot} does not hold it`);
    const { xapi, logger } = this.#parts;
    const vdi = { ...toVdi(disk), shown };
    const isIncluded = (_: VmDisk, index: number): boolean => description.disks[index]?.excludedBecause === undefined;
    const others = disks.filter(isIncluded).flatMap((one) => (one === disk ? [] : [toVdi(one)]));
    const scope = { xapi, logger, limits: XEN_DISK_LIMITS, load: this.#nbdLoad, room: this.#copyRoom, others };
    return await this.#translating(`Cannot open ${shown}`, () => openXenDisk(vdi, scope, options));
  }

  /** `ova.xml`: the records that an import makes a VM of. */
  async readConfig(
    vm: string,
    { signal, snapshot }: CallOptions & { readonly snapshot?: string | undefined },
  ): Promise<ConfigFile[]> {
    return this.#translating(`Cannot read the configuration of ${this.#shown(vm)}`, async () => {
      const { xapi } = this.#parts;
      const { ref } = await needVm(vm, xapi, { signal });
      const frozen = snapshot === undefined ? undefined : (await needVm(snapshot, xapi, { signal })).ref;
      const bytes = await loadOvaDocument({ vm: ref, snapshot: frozen }, xapi, { signal });
      return [{ name: "ova.xml", bytes }];
    });
  }

  async #describe(vm: string, snapshot: string | undefined, signal: AbortSignal): Promise<DescribedVm> {
    const { xapi, limits } = this.#parts;
    const what = snapshot === undefined ? this.#shown(vm) : `${this.#shown(vm)} at ${snapshot}`;
    return this.#translating(`Cannot describe ${what}`, async () => {
      const support = await this.#loadSupport({ signal });
      const described = await describe({ vm, snapshot }, { xapi, support, chainMax: limits.chainMax, signal });
      this.#remember(described);
      return described;
    });
  }

  #remember({ description, ref, disks }: DescribedVm): void {
    const { name, ref: uuid } = description.identity;
    this.#names.set(uuid, name).set(ref, name);
    for (const { vdiRef, vdi, srRef, sr } of disks) {
      this.#names.set(vdiRef, text(vdi, "name_label")).set(srRef, text(sr, "name_label"));
    }
  }

  /** A VM by its name where it was described before, else by its UUID. */
  #shown(vm: string): string {
    const name = this.#names.get(vm);
    return name === undefined ? vm : `"${name}"`;
  }

  #translating<T>(action: string, work: () => Promise<T>): Promise<T> {
    return translating(action, work, (ref) => this.#names.get(ref));
  }

  /** What kinds of storage can do changes with updates of the hosts alone. */
  async #loadSupport(options: CallOptions): Promise<SnapshotSupport> {
    this.#support ??= await SnapshotSupport.load(this.#parts.xapi, options);
    return this.#support;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#parts.xapi[Symbol.asyncDispose]();
  }
}

function toVdi({ vdiRef: ref, vdi }: VmDisk): XenVdi {
  return { ref, uuid: text(vdi, "uuid"), size: size(vdi, "virtual_size"), shown: `"${text(vdi, "name_label")}"` };
}
