import { relative } from "node:path";
import { errorChain, UsageError, VmmountError } from "../errors.js";
import { matchesGlob } from "../glob.js";
import type { VmIdentity } from "../hypervisor.js";
import type { LocatorForm } from "../locator.js";
import type { Logger } from "../log.js";
import { sortedByPath } from "../path-order.js";
import type { LocalInventory, VmFolder } from "./inventory.js";
import type { LocalRoot } from "./root.js";
import { identify, readVmx } from "./vm-description.js";

interface Scope {
  readonly root: LocalRoot;
  readonly inventory: LocalInventory;
  readonly logger: Logger;
  readonly signal: AbortSignal;
}

/** Every VM that a locator names, sorted by path. @throws UsageError for forms that a folder cannot answer */
export async function locate(form: LocatorForm, scope: Scope): Promise<VmIdentity[]> {
  switch (form.kind) {
    case "path":
      return identities([await scope.inventory.at(form.path)], scope);
    case "vmx":
      return identities([await atFile(form.path, scope)], scope);
    case "name":
      return search((vm) => vm.name === form.name, scope);
    case "glob":
      return search((vm) => matchesGlob(vm.name, form.pattern), scope);
    case "uuid":
      return search((vm) => vm.biosUuid === form.uuid, scope);
    case "instanceuuid":
      return search((vm) => vm.instanceUuid === form.uuid, scope);
    case "any":
      return search(() => true, scope);
    case "moref":
      throw notAnswered("moref:", "only a vCenter or ESXi host gives its objects ids");
    case "ipaddr":
      throw notAnswered("ipaddr:", "only a server knows the addresses of running guests");
    case "powerstate":
      throw notAnswered("powerstate:", "whether a VM runs can only be guessed from its files");
  }
}

function notAnswered(form: string, why: string): UsageError {
  return new UsageError(`Cannot look up ${form} in a folder of VMs: ${why}`, {
    hint: "Name the VM by its path, name:, glob:, uuid:, instanceuuid: or vmx:",
  });
}

/** The VM of a .vmx file, named by its absolute path or from the root on. */
async function atFile(path: string, { root, inventory }: Scope): Promise<VmFolder | undefined> {
  const inside = root.inside(path);
  if (inside === undefined) {
    throw new UsageError(`Cannot look up "vmx:${path}": it lies outside of the folder "${root.folder}"`);
  }
  const vm = await inventory.at(relative(root.folder, inside).split("/"));
  return vm?.vmxPath === inside ? vm : undefined;
}

async function identities(vms: readonly (VmFolder | undefined)[], scope: Scope): Promise<VmIdentity[]> {
  const found: VmIdentity[] = [];
  for (const vm of vms) if (vm !== undefined) found.push(await tolerantIdentity(vm, scope));
  return found;
}

async function search(filter: (vm: VmIdentity) => boolean, scope: Scope): Promise<VmIdentity[]> {
  const found: VmIdentity[] = [];
  for await (const vm of scope.inventory.all(scope.signal)) {
    const identity = await tolerantIdentity(vm, scope);
    if (filter(identity)) found.push(identity);
  }
  return sortedByPath(found);
}

/** One damaged .vmx file must not hide all other VMs; describing or mounting this one fails and says why. */
export async function tolerantIdentity(
  vm: VmFolder,
  { root, logger }: Pick<Scope, "root" | "logger">,
): Promise<VmIdentity> {
  try {
    return identify(vm, await readVmx(vm, root));
  } catch (error) {
    if (!(error instanceof VmmountError)) throw error;
    logger.warn(`Only the file name of a VM is known: ${errorChain(error)}`);
    return identify(vm, undefined);
  }
}
