import { basename, join } from "node:path";
import { IntegrityError, MissingCapabilityError, NotFoundError, SnapshotError } from "../errors.js";
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
  type VmDescription,
  type VmIdentity,
} from "../hypervisor.js";
import { VMX_BYTES_MAX } from "../image/vmx.js";
import { joinInventoryPath, type LocatorForm, splitInventoryPath } from "../locator.js";
import type { Logger } from "../log.js";
import { sortedByPath } from "../path-order.js";
import { safeFileName } from "../safe-file-name.js";
import { inspectDisk } from "./disk-image.js";
import { FileSource } from "./file-source.js";
import { openFlatFiles } from "./flat-files.js";
import { LocalInventory, type VmFolder } from "./inventory.js";
import { NVRAM_BYTES_MAX } from "./limits.js";
import { locate, tolerantIdentity } from "./locate.js";
import type { LocalRoot } from "./root.js";
import { describe, readVmx } from "./vm-description.js";

/** A folder of VMs behind the hypervisor seam: nobody runs them for us, so there are no snapshots. */
export class LocalFolder implements Hypervisor {
  readonly identity: ServerIdentity;
  readonly snapshots = "none";
  readonly #root: LocalRoot;
  readonly #inventory: LocalInventory;
  readonly #logger: Logger;

  constructor(parts: { readonly identity: ServerIdentity; readonly root: LocalRoot; readonly logger: Logger }) {
    this.identity = parts.identity;
    this.#root = parts.root;
    this.#logger = parts.logger;
    this.#inventory = new LocalInventory(parts.root, parts.logger);
  }

  async browse(path: string, { signal }: CallOptions): Promise<InventoryEntry[]> {
    signal.throwIfAborted();
    const listing = await this.#inventory.list(splitInventoryPath(path), signal);
    const folders = listing.folders.map((names) => ({
      kind: "folder" as const,
      name: names.at(-1) ?? "",
      path: joinInventoryPath(names),
      vm: undefined,
    }));
    const vms: InventoryEntry[] = [];
    for (const folder of listing.vms) {
      const vm = await tolerantIdentity(folder, { root: this.#root, logger: this.#logger });
      vms.push({ kind: "vm", name: vm.name, path: vm.path, vm });
    }
    return [...sortedByPath(folders), ...sortedByPath(vms)];
  }

  async findVms(form: LocatorForm, { signal }: CallOptions): Promise<VmIdentity[]> {
    signal.throwIfAborted();
    return locate(form, { root: this.#root, inventory: this.#inventory, logger: this.#logger, signal });
  }

  async describeVm(vm: string, { signal }: CallOptions): Promise<VmDescription> {
    signal.throwIfAborted();
    return describe(await this.#vm(vm), this.#root);
  }

  createSnapshot(vm: string): Promise<Snapshot> {
    return Promise.reject(
      new SnapshotError(`Cannot create a snapshot of "${vm}": ${this.identity.url} is a folder, and no server`),
    );
  }

  async settleSnapshots(): Promise<void> {}

  async listSnapshots(vm: string, { signal }: CallOptions): Promise<Snapshot[]> {
    signal.throwIfAborted();
    await this.#vm(vm);
    return [];
  }

  async removeSnapshot(): Promise<void> {}

  consolidate(): Promise<Consolidation> {
    return Promise.resolve("unneeded");
  }

  listOrphans(): Promise<Snapshot[]> {
    return Promise.resolve([]);
  }

  async openDisk(
    at: { readonly vm: string; readonly disk: DiskDescription },
    { signal, allocation }: OpenDiskOptions,
  ): Promise<OpenedDisk> {
    signal.throwIfAborted();
    const { disk } = at;
    const shown = `"${disk.label}" (${diskNodeName(disk.node)}) of "${at.vm}"`;
    if (disk.excludedBecause !== undefined) {
      throw new MissingCapabilityError(`Cannot open ${shown}: ${disk.excludedBecause}`);
    }
    const { descriptor, unreadable, parentHint } = await inspectDisk(disk.path, this.#root);
    if (descriptor === undefined || unreadable !== undefined) {
      throw new MissingCapabilityError(
        `Cannot open ${shown}: its file "${disk.path}" is ${unreadable ?? "no flat disk"}, and only flat disks can be read`,
        {
          hint:
            parentHint === undefined
              ? "Convert it to a flat one (vmware-vdiskmanager -r … -t 2, or qemu-img convert), or back it up as a file"
              : "Delete the VM's snapshots, so that its disks are in one piece again",
        },
      );
    }
    const source = new FileSource(
      await openFlatFiles(disk.path, descriptor, this.#root),
      allocation === "off" ? "not asked for" : "asked of the file system",
    );
    if (source.size !== disk.capacity) {
      await source[Symbol.asyncDispose]();
      throw new IntegrityError(`Cannot open ${shown}: "${disk.path}" was changed while it was being opened`);
    }
    return {
      source,
      transport: "file",
      allocation:
        allocation === "off"
          ? "unknown: not asked for (allocation off)"
          : "holes as the file system tells them (SEEK_HOLE)",
      writtenSince: (options) => source.writtenSince(options),
    };
  }

  async readConfig(vm: string, { signal }: CallOptions): Promise<ConfigFile[]> {
    signal.throwIfAborted();
    const found = await this.#vm(vm);
    const bytes = await this.#root.readSmall(found.vmxPath, VMX_BYTES_MAX);
    const files: ConfigFile[] = [{ name: safeFileName(found.vmxPath), bytes }];
    const nvram = await this.#nvramName(found);
    // A VM that was never switched on has none.
    if (nvram !== undefined) {
      const content = await this.#root.readSmall(join(found.folder, nvram), NVRAM_BYTES_MAX);
      files.push({ name: safeFileName(nvram), bytes: content });
    }
    return files;
  }

  async [Symbol.asyncDispose](): Promise<void> {}

  /** What the .vmx says, or else the usual name, where such a file lies beside it. */
  async #nvramName(vm: VmFolder): Promise<string | undefined> {
    const usual = basename(vm.vmxPath).replace(/\.vmx$/i, ".nvram");
    const wanted = (await readVmx(vm, this.#root)).get("nvram") ?? usual;
    return vm.beside.find(({ name, kind }) => kind === "file" && name === wanted)?.name;
  }

  /** @param ref the .vmx file below the root */
  async #vm(ref: string): Promise<VmFolder> {
    const vm = await this.#inventory.at(ref.split("/"));
    if (vm?.ref !== ref) throw new NotFoundError(`Cannot find VM "${ref}" in ${this.identity.url}`);
    return vm;
  }
}
