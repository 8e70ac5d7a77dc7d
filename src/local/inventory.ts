import { join } from "node:path";
import { NotFoundError, RefusedError } from "../errors.js";
import { joinInventoryPath } from "../locator.js";
import type { Logger } from "../log.js";
import { DEPTH_MAX, FOLDERS_MAX } from "./limits.js";
import type { FolderEntry, LocalRoot } from "./root.js";

/** A VM by its files alone. */
export interface VmFolder {
  /** Names from the top. A VM that shares its folder, or lies in the root, has the .vmx file's name at the end. */
  readonly names: readonly string[];
  /** The .vmx file below the root: the VM's id. */
  readonly ref: string;
  /** Absolute. */
  readonly folder: string;
  readonly vmxPath: string;
  /** Everything that lies beside the .vmx file. */
  readonly beside: readonly FolderEntry[];
}

interface Folder {
  readonly names: readonly string[];
  readonly path: string;
  readonly entries: readonly FolderEntry[];
  readonly vmxNames: readonly string[];
}

export interface FolderListing {
  readonly folders: readonly (readonly string[])[];
  readonly vms: readonly VmFolder[];
}

/**
 * Folders as an inventory: a folder with one .vmx file is a VM, every other one may hold folders and VMs. Hidden folders
 * and symbolic links are not entered.
 */
export class LocalInventory {
  readonly #root: LocalRoot;
  readonly #logger: Logger;

  constructor(root: LocalRoot, logger: Logger) {
    this.#root = root;
    this.#logger = logger;
  }

  /** One level; the path of a VM lists that VM alone. @throws NotFoundError */
  async list(names: readonly string[], signal: AbortSignal): Promise<FolderListing> {
    const vm = await this.at(names);
    if (vm !== undefined) return { folders: [], vms: [vm] };
    return this.#children(await this.#folder(names), signal);
  }

  /** The VM at a path, written with or without the name of its .vmx file; undefined when there is none. */
  async at(names: readonly string[]): Promise<VmFolder | undefined> {
    const last = names.at(-1);
    if (last === undefined) return undefined;
    try {
      if (isVmxName(last)) {
        const folder = await this.#folder(names.slice(0, -1));
        if (folder.vmxNames.includes(last)) return this.#vmIn(folder, last);
      }
      const folder = await this.#folder(names);
      return isVm(folder) ? this.#vmIn(folder, folder.vmxNames[0] ?? "") : undefined;
    } catch (error) {
      if (error instanceof NotFoundError) return undefined;
      throw error;
    }
  }

  /** Every VM, in no order. @throws RefusedError when there are too many folders */
  async *all(signal: AbortSignal): AsyncGenerator<VmFolder, void, undefined> {
    const waiting: (readonly string[])[] = [[]];
    let visited = 0;
    for (let names = waiting.pop(); names !== undefined; names = waiting.pop()) {
      const { folders, vms } = await this.#children(await this.#folder(names), signal);
      yield* vms;
      visited += 1 + vms.length;
      if (visited > FOLDERS_MAX) {
        throw new RefusedError(`Cannot search "${this.#root.folder}": it holds more than ${FOLDERS_MAX} folders`, {
          hint: "Name a folder further down as the server",
        });
      }
      if (names.length + 1 < DEPTH_MAX) waiting.push(...folders);
      else if (folders.length > 0) {
        this.#logger.warn(`Not searched: what lies more than ${DEPTH_MAX} levels deep in "${this.#root.folder}"`, {
          folder: joinInventoryPath(names),
        });
      }
    }
  }

  async #children(folder: Folder, signal: AbortSignal): Promise<FolderListing> {
    const vms = folder.vmxNames.map((name) => this.#vmIn(folder, name));
    const folders: (readonly string[])[] = [];
    for (const { name, kind } of folder.entries) {
      signal.throwIfAborted();
      if (kind !== "folder" || name.startsWith(".")) continue;
      if (name.includes("\ufffd")) {
        this.#logger.warn(`Not shown: a folder in "${folder.path}" whose name is not UTF-8 (${JSON.stringify(name)})`);
        continue;
      }
      const child = await this.#childFolder(folder, name);
      if (child === undefined) continue;
      if (isVm(child)) vms.push(this.#vmIn(child, child.vmxNames[0] ?? ""));
      else folders.push(child.names);
    }
    return { folders, vms };
  }

  /** Undefined when it went away since it was listed. */
  async #childFolder(folder: Folder, name: string): Promise<Folder | undefined> {
    try {
      return await this.#folder([...folder.names, name]);
    } catch (error) {
      if (error instanceof NotFoundError) return undefined;
      throw error;
    }
  }

  async #folder(names: readonly string[]): Promise<Folder> {
    const odd = names.find((name) => name.startsWith(".") || /[/\u0000]/.test(name));
    if (odd !== undefined) {
      throw new NotFoundError(`Cannot list "${joinInventoryPath(names)}": there is no folder ${JSON.stringify(odd)}`);
    }
    const path = join(this.#root.folder, ...names);
    const entries = await this.#root.entries(path);
    const vmxNames = entries.filter(({ name, kind }) => kind === "file" && isVmxName(name)).map(({ name }) => name);
    return { names, path, entries, vmxNames };
  }

  #vmIn(folder: Folder, vmxName: string): VmFolder {
    const { names, path, entries } = folder;
    return {
      names: isVm(folder) ? names : [...names, vmxName],
      ref: [...names, vmxName].join("/"),
      folder: path,
      vmxPath: join(path, vmxName),
      beside: entries,
    };
  }
}

function isVm({ names, vmxNames }: Folder): boolean {
  return names.length > 0 && vmxNames.length === 1;
}

/** macOS leaves `._NAME` files on foreign file systems. */
function isVmxName(name: string): boolean {
  return /\.vmx$/i.test(name) && !name.startsWith(".");
}
