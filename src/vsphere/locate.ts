import type { VmIdentity } from "../hypervisor.js";
import { matchesGlob } from "../glob.js";
import { guestAddresses, normalAddress } from "../guest-address.js";
import { escapeInventoryName, type LocatorForm, unescapeInventoryName } from "../locator.js";
import { sortedByPath } from "../path-order.js";
import { child, childrenNamed, textAt } from "./element.js";
import { isMissingMethod, SoapFault } from "./faults.js";
import { type Lineage, lineagesOf } from "./inventory-tree.js";
import type { ObjectProperties, PropertyCollector } from "./property-collector.js";
import { findAllByUuid, findByInventoryPath, findByUuid } from "./requests.js";
import type { Session } from "./session.js";
import type { MoRef } from "./soap-message.js";
import { IDENTITY_PATHS, toIdentities, toIdentity } from "./vm-identity.js";
import type { XmlElement } from "./xml.js";

interface Scope {
  readonly session: Session;
  readonly properties: PropertyCollector;
  readonly signal: AbortSignal;
}

type Filter = (vm: ObjectProperties) => boolean;

/** Every VM that a locator names, sorted by path. @throws SoapFault */
export async function locate(form: LocatorForm, scope: Scope): Promise<VmIdentity[]> {
  switch (form.kind) {
    case "path":
      return locateByPath(form.path, scope);
    case "uuid":
      return locateByUuid(form.uuid, false, scope);
    case "instanceuuid":
      return locateByUuid(form.uuid, true, scope);
    case "moref":
      return identitiesOf([{ type: "VirtualMachine", id: form.id }], scope);
    case "ipaddr":
      return scan(await addressFilter(form.address), ["guest.hostName"], scope);
    case "vmx":
      return scan(
        (vm) => vm.values.get("summary.config.vmPathName")?.text === form.path,
        ["summary.config.vmPathName"],
        scope,
      );
    case "name":
      return scan((vm) => nameOf(vm) === form.name, [], scope);
    case "glob":
      return scan(
        notAgent((vm) => matchesGlob(nameOf(vm), form.pattern)),
        AGENT_PATHS,
        scope,
      );
    case "powerstate":
      return (
        await scan(
          notAgent(() => true),
          AGENT_PATHS,
          scope,
        )
      ).filter((vm) => vm.powerState === form.state);
    case "any":
      return scan(
        notAgent(() => true),
        AGENT_PATHS,
        scope,
      );
  }
}

function nameOf(vm: ObjectProperties): string {
  return unescapeInventoryName(vm.values.get("name")?.text ?? vm.obj.id);
}

async function scan(filter: Filter, morePaths: readonly string[], scope: Scope): Promise<VmIdentity[]> {
  return toIdentities(await objects(filter, morePaths, scope), scope.properties, scope.signal);
}

async function objects(filter: Filter, morePaths: readonly string[], scope: Scope): Promise<ObjectProperties[]> {
  const query = { type: "VirtualMachine", paths: [...IDENTITY_PATHS, ...morePaths] };
  return (await scope.properties.ofAll(query, scope.signal)).filter(filter);
}

const AGENT_PATHS = ["config.managedBy"];

/** vSphere Cluster Services VMs belong to the server: lists of "all VMs" do not mean them. */
function notAgent(filter: Filter): Filter {
  return (vm) => {
    const owner = vm.values.get("config.managedBy");
    const isAgent = textAt(owner, "extensionKey") === "com.vmware.vim.eam" && textAt(owner, "type") === "cluster-agent";
    return !isAgent && filter(vm);
  };
}

async function identitiesOf(vms: readonly MoRef[], scope: Scope): Promise<VmIdentity[]> {
  return toIdentities(await objectsOf(vms, scope), scope.properties, scope.signal);
}

async function objectsOf(vms: readonly MoRef[], { properties, signal }: Scope): Promise<ObjectProperties[]> {
  const found: ObjectProperties[] = [];
  for (const vm of new Map(vms.map((ref) => [ref.id, ref])).values()) {
    try {
      found.push(await properties.ofObject(vm, IDENTITY_PATHS, signal));
    } catch (error) {
      // Between the search and now it may have gone.
      if (!(error instanceof SoapFault && error.is("ManagedObjectNotFound"))) throw error;
    }
  }
  return found;
}

async function locateByUuid(uuid: string, isInstance: boolean, scope: Scope): Promise<VmIdentity[]> {
  const { session, signal } = scope;
  const { searchIndex } = session.content;
  let response: XmlElement;
  try {
    response = await session.call(findAllByUuid(searchIndex, uuid, isInstance), { signal });
  } catch (error) {
    if (!isMissingMethod(error)) throw error;
    response = await session.call(findByUuid(searchIndex, uuid, isInstance), { signal });
  }
  return identitiesOf(vmReferences(response), scope);
}

function vmReferences(response: XmlElement): MoRef[] {
  return childrenNamed(response, "returnval")
    .filter((element) => element.type === "VirtualMachine")
    .map((element) => ({ type: "VirtualMachine", id: element.text }));
}

/**
 * `/dc/folder/vm` is the inventory path without the datacenter's `vm` folder, as `VmIdentity.path` shows it; with that
 * folder it is taken as well. A VM counts only where it is shown at exactly that path: nothing is guessed. The one
 * short form is `/dc/vm`, a datacenter and a name: without a VM at exactly that path, every VM of that name below that
 * datacenter.
 */
async function locateByPath(names: readonly string[], scope: Scope): Promise<VmIdentity[]> {
  const last = names.at(-1);
  if (last === undefined) return [];
  const asked = await placed(await objectsOf(await inventoryPathTargets(names, scope), scope), scope);
  const found = asked.filter((vm) => isAt(vm, names));
  if (found.length > 0) return identities(found);
  // VMs inside vApps are in no folder, and the search index finds no path to them.
  const sameName = await placed(await objects((vm) => nameOf(vm) === last, [], scope), scope);
  const exact = sameName.filter((vm) => isAt(vm, names));
  if (exact.length > 0) return identities(exact);
  return identities(sameName.filter(({ lineage }) => isSame(datacenterOf(lineage), names.slice(0, -1))));
}

/** What the search index finds, with the `vm` folder put in at each place: datacenters may be inside folders. */
async function inventoryPathTargets(names: readonly string[], { session, signal }: Scope): Promise<MoRef[]> {
  const escaped = names.map(escapeInventoryName);
  const paths = escaped.slice(1).map((_, index) => escaped.toSpliced(index + 1, 0, "vm"));
  const found: MoRef[] = [];
  for (const path of [...paths, escaped]) {
    const response = await session.call(findByInventoryPath(session.content.searchIndex, path.join("/")), { signal });
    const target = child(response, "returnval");
    if (target?.type === "VirtualMachine") found.push({ type: target.type, id: target.text });
  }
  return found;
}

interface PlacedVm {
  readonly vm: ObjectProperties;
  readonly lineage: Lineage;
}

async function placed(vms: readonly ObjectProperties[], { properties, signal }: Scope): Promise<PlacedVm[]> {
  const lineages = await lineagesOf(vms, properties, signal);
  return vms.flatMap((vm) => {
    const lineage = lineages.get(vm.obj.id);
    return lineage === undefined ? [] : [{ vm, lineage }];
  });
}

function identities(vms: readonly PlacedVm[]): VmIdentity[] {
  return sortedByPath(vms.map(({ vm, lineage }) => toIdentity(vm, lineage)));
}

/** The VM is shown at that path, or stands there with the datacenter's hidden folder written out. */
function isAt({ lineage }: PlacedVm, path: readonly string[]): boolean {
  const { names, datacenterDepth } = lineage;
  if (isSame(names, path)) return true;
  return datacenterDepth > 0 && isSame(names.toSpliced(datacenterDepth, 0, "vm"), path);
}

/** Names from the top down to the datacenter; undefined for a VM that is shown below none. */
function datacenterOf({ names, datacenterDepth }: Lineage): readonly string[] | undefined {
  return datacenterDepth === 0 ? undefined : names.slice(0, datacenterDepth);
}

function isSame(a: readonly string[] | undefined, b: readonly string[]): boolean {
  return a?.length === b.length && a.every((name, index) => name === b[index]);
}

/** Addresses are compared after resolving the name here, since the guest reports addresses more surely than names. */
async function addressFilter(text: string): Promise<Filter> {
  const wanted = await guestAddresses(text);
  const hostName = text.toLowerCase().replace(/\.$/, "");
  return ({ values }) => {
    if (values.get("guest.hostName")?.text.toLowerCase() === hostName) return true;
    const primary = values.get("guest.ipAddress")?.text ?? "";
    const others = (values.get("guest.net")?.children ?? []).flatMap((card) => childrenNamed(card, "ipAddress"));
    return [primary, ...others.map((element) => element.text)].some((address) => wanted.has(normalAddress(address)));
  };
}
