import { lookup } from "node:dns/promises";
import { isIP } from "node:net";
import { NotFoundError } from "../errors.js";
import type { VmIdentity } from "../hypervisor.js";
import { escapeInventoryName, type LocatorForm, unescapeInventoryName } from "../locator.js";
import { child, childrenNamed, textAt } from "./element.js";
import { isMissingMethod, SoapFault } from "./faults.js";
import type { ObjectProperties, PropertyCollector } from "./property-collector.js";
import { findAllByUuid, findByInventoryPath, findByUuid } from "./requests.js";
import type { Session } from "./session.js";
import type { MoRef } from "./soap-message.js";
import { IDENTITY_PATHS, toIdentities } from "./vm-identity.js";
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
  const query = { type: "VirtualMachine", paths: [...IDENTITY_PATHS, ...morePaths] };
  const all = await scope.properties.ofAll(query, scope.signal);
  return toIdentities(all.filter(filter), scope.properties, scope.signal);
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

async function identitiesOf(vms: readonly MoRef[], { properties, signal }: Scope): Promise<VmIdentity[]> {
  const found: ObjectProperties[] = [];
  for (const vm of new Map(vms.map((ref) => [ref.id, ref])).values()) {
    try {
      found.push(await properties.ofObject(vm, IDENTITY_PATHS, signal));
    } catch (error) {
      // Between the search and now it may have gone.
      if (!(error instanceof SoapFault && error.is("ManagedObjectNotFound"))) throw error;
    }
  }
  return toIdentities(found, properties, signal);
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
 * `/dc/folder/vm` is the inventory path without the datacenter's `vm` folder. Tried first as it stands and with that
 * folder put in at each place (datacenters may be inside folders); then, for VMs inside vApps, which are in no folder,
 * and for `/dc/vm` with the VM somewhere below the datacenter, by name.
 */
async function locateByPath(names: readonly string[], scope: Scope): Promise<VmIdentity[]> {
  const { session, signal } = scope;
  const last = names.at(-1);
  if (last === undefined) return [];
  const escaped = names.map(escapeInventoryName);
  const paths = escaped.slice(1).map((_, index) => escaped.toSpliced(index + 1, 0, "vm"));
  const found: MoRef[] = [];
  for (const path of [...paths, escaped]) {
    const response = await session.call(findByInventoryPath(session.content.searchIndex, path.join("/")), { signal });
    const target = child(response, "returnval");
    if (target?.type === "VirtualMachine") found.push({ type: target.type, id: target.text });
  }
  if (found.length > 0) return identitiesOf(found, scope);
  const sameName = await scan((vm) => nameOf(vm) === last, [], scope);
  const wanted = escaped.join("/");
  const exact = sameName.filter((vm) => vm.path === `/${wanted}`);
  if (exact.length > 0) return exact;
  return sameName.filter((vm) => vm.path.startsWith(`/${escaped.slice(0, -1).join("/")}/`));
}

/** Addresses are compared after resolving the name here, since the guest reports addresses more surely than names. */
async function addressFilter(text: string): Promise<Filter> {
  const resolved = isIP(text) === 0 ? await resolveName(text) : [text];
  const wanted = new Set(resolved.map(normalAddress));
  const hostName = text.toLowerCase().replace(/\.$/, "");
  return ({ values }) => {
    if (values.get("guest.hostName")?.text.toLowerCase() === hostName) return true;
    const primary = values.get("guest.ipAddress")?.text ?? "";
    const others = (values.get("guest.net")?.children ?? []).flatMap((card) => childrenNamed(card, "ipAddress"));
    return [primary, ...others.map((element) => element.text)].some((address) => wanted.has(normalAddress(address)));
  };
}

/** A name that DNS does not know may still be the guest's host name. */
async function resolveName(name: string): Promise<string[]> {
  try {
    return (await lookup(name, { all: true })).map(({ address }) => address);
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code;
    if (code === "ENOTFOUND" || code === "EAI_AGAIN" || code === "ENODATA") return [];
    throw new NotFoundError(`Cannot resolve the guest name "${name}"`, { cause: error });
  }
}

/** One spelling per address: IPv6 has many. */
export function normalAddress(address: string): string {
  const bare = address.replace(/%.*$/, "");
  return isIP(bare) === 6 ? new URL(`http://[${bare}]/`).hostname : bare;
}

/** `*` and `?`, in linear time per star: a pattern from a user must not hang the search. */
export function matchesGlob(name: string, pattern: string): boolean {
  const text = Array.from(name);
  const glob = Array.from(pattern);
  let at = 0;
  let star = -1;
  let resume = 0;
  let next = 0;
  while (at < text.length) {
    if (glob[next] === "*") {
      star = next++;
      resume = at;
    } else if (next < glob.length && (glob[next] === "?" || glob[next] === text[at])) {
      next++;
      at++;
    } else if (star >= 0) {
      next = star + 1;
      at = ++resume;
    } else return false;
  }
  while (glob[next] === "*") next++;
  return next === glob.length;
}
