import { NotFoundError, UsageError } from "../errors.js";
import { matchesGlob } from "../glob.js";
import { guestAddresses, normalAddress } from "../guest-address.js";
import type { CallOptions, InventoryEntry, VmIdentity } from "../hypervisor.js";
import { joinInventoryPath, type LocatorForm, type PowerState, splitInventoryPath } from "../locator.js";
import { sortedByPath } from "../path-order.js";
import { XapiFault } from "./xapi/fault.js";
import { isSet, list, map, reference, text, toRecord, toText } from "./xapi/fields.js";
import { recordsOf } from "./xapi/pool-facts.js";
import type { XapiRecord } from "./xapi/value.js";
import type { Xapi } from "./xapi/xapi.js";

type Calls = Pick<Xapi, "call">;
type Records = readonly (readonly [ref: string, record: XapiRecord])[];

/** The machines that people mean: XAPI keeps templates, snapshots and the hosts' own domains in the same table. */
export function isVm(record: XapiRecord): boolean {
  return !isSet(record, "is_a_template") && !isSet(record, "is_a_snapshot") && !isSet(record, "is_control_domain");
}

/** The pool's VMs; there are no folders. The path of a VM lists that VM alone. @throws NotFoundError, XapiFault */
export async function browse(path: string, xapi: Calls, options: CallOptions): Promise<InventoryEntry[]> {
  const names = splitInventoryPath(path);
  const [name, ...more] = names;
  const vms = name === undefined ? await all(() => true, xapi, options) : await byName(name, xapi, options);
  if (name !== undefined && (more.length > 0 || vms.length === 0)) {
    throw new NotFoundError(`Cannot list "${path}": the pool has no VM "${names.join("/")}"`, {
      hint: "A pool has no folders: / lists its VMs",
    });
  }
  return vms.map((vm) => ({ kind: "vm", name: vm.name, path: vm.path, vm }));
}

/** Every VM that a locator names, sorted by path. @throws XapiFault, UsageError for a form that means nothing here */
export async function locate(form: LocatorForm, xapi: Calls, options: CallOptions): Promise<VmIdentity[]> {
  switch (form.kind) {
    case "path":
      return form.path.length === 1 ? await byName(form.path[0] ?? "", xapi, options) : [];
    case "name":
      return await byName(form.name, xapi, options);
    case "uuid":
    case "instanceuuid":
      return await byUuid(form.uuid, xapi, options);
    case "moref":
      return form.id.startsWith("OpaqueRef:")
        ? await identitiesOf([form.id], xapi, options)
        : await byUuid(form.id, xapi, options);
    case "ipaddr": {
      const wanted = await guestAddresses(form.address);
      return await all((vm) => vm.addresses.some((address) => wanted.has(normalAddress(address))), xapi, options);
    }
    case "vmx":
      throw new UsageError(`Cannot find "vmx:${form.path}": the VMs of a Xen pool have no .vmx file`);
    case "glob":
      return await all((vm) => matchesGlob(vm.name, form.pattern), xapi, options);
    case "powerstate":
      return await all((vm) => vm.powerState === form.state, xapi, options);
    case "any":
      return await all(() => true, xapi, options);
  }
}

/** Two calls, however many VMs there are. */
async function all(filter: (vm: VmIdentity) => boolean, xapi: Calls, options: CallOptions): Promise<VmIdentity[]> {
  const call = xapi.call.bind(xapi);
  const [vms, guests] = await Promise.all([
    recordsOf(call, "VM", options),
    recordsOf(call, "VM_guest_metrics", options),
  ]);
  const found = [...vms.values()].filter(isVm).map((vm) => toIdentity(vm, guests.get(text(vm, "guest_metrics"))));
  return sortedByPath(found.filter(filter));
}

async function byName(name: string, xapi: Calls, options: CallOptions): Promise<VmIdentity[]> {
  const refs = await xapi.call("VM.get_by_name_label", [name], options);
  return await identitiesOf(list({ refs }, "refs"), xapi, options);
}

async function byUuid(uuid: string, xapi: Calls, options: CallOptions): Promise<VmIdentity[]> {
  const found = await findVm(uuid, xapi, options);
  return found === undefined || !isVm(found.record) ? [] : [await withGuest(found.record, xapi, options)];
}

/** @returns undefined when there is none with this UUID @throws XapiFault */
export async function findVm(
  uuid: string,
  xapi: Calls,
  options: CallOptions,
): Promise<{ readonly ref: string; readonly record: XapiRecord } | undefined> {
  const ref = await unlessGone(async () => toText(await xapi.call("VM.get_by_uuid", [uuid], options), "a VM"));
  if (ref === undefined) return undefined;
  const record = await unlessGone(async () => toRecord(await xapi.call("VM.get_record", [ref], options), "a VM"));
  return record && { ref, record };
}

/** @throws NotFoundError when there is none with this UUID, XapiFault */
export async function needVm(
  uuid: string,
  xapi: Calls,
  options: CallOptions,
): Promise<{ readonly ref: string; readonly record: XapiRecord }> {
  const found = await findVm(uuid, xapi, options);
  if (found === undefined) throw new NotFoundError(`The pool has no VM with the UUID ${uuid}`);
  return found;
}

/** What the fault says is gone is undefined; any other fault stays. */
export async function unlessGone<T>(work: () => Promise<T>): Promise<T | undefined> {
  try {
    return await work();
  } catch (error) {
    if (error instanceof XapiFault && error.is("HANDLE_INVALID", "UUID_INVALID")) return undefined;
    throw error;
  }
}

async function identitiesOf(refs: readonly string[], xapi: Calls, options: CallOptions): Promise<VmIdentity[]> {
  const found: Records = await Promise.all(
    refs.map(async (ref) => {
      const record = await unlessGone(() => xapi.call("VM.get_record", [ref], options));
      return [ref, record === undefined ? {} : toRecord(record, "a VM")] as const;
    }),
  );
  // Between the search and now it may have gone.
  const vms = found.filter(([, record]) => text(record, "uuid") !== "" && isVm(record));
  return sortedByPath(await Promise.all(vms.map(([, record]) => withGuest(record, xapi, options))));
}

async function withGuest(record: XapiRecord, xapi: Calls, options: CallOptions): Promise<VmIdentity> {
  return toIdentity(record, await guestOf(record, xapi, options));
}

/** What the guest reports, where it does. @throws XapiFault */
export async function guestOf(record: XapiRecord, xapi: Calls, options: CallOptions): Promise<XapiRecord | undefined> {
  const ref = reference(record, "guest_metrics");
  if (ref === undefined) return undefined;
  const found = await unlessGone(() => xapi.call("VM_guest_metrics.get_record", [ref], options));
  return found === undefined ? undefined : toRecord(found, "a guest");
}

export function toIdentity(record: XapiRecord, guest: XapiRecord | undefined): VmIdentity {
  const uuid = text(record, "uuid");
  const name = text(record, "name_label");
  const powerState = toPowerState(text(record, "power_state"));
  return {
    ref: uuid,
    name,
    path: joinInventoryPath([name]),
    instanceUuid: uuid,
    biosUuid: uuid,
    powerState,
    addresses: powerState === "on" && guest !== undefined ? addressesOf(guest) : [],
  };
}

/** A paused VM holds its memory like a running one. */
function toPowerState(state: string): PowerState {
  if (state === "Halted") return "off";
  return state === "Suspended" ? "suspended" : "on";
}

/** `0/ip`, `0/ipv4/0`, `1/ipv6/0` …: the first card first, and IPv4 before IPv6. */
function addressesOf(guest: XapiRecord): string[] {
  const found = [...map(guest, "networks")]
    .filter(([key, address]) => /^\d+\/ip(v[46]\/\d+)?$/.test(key) && address !== "")
    .sort(([a], [b]) => (a < b ? -1 : 1));
  return [...new Set(found.map(([, address]) => address))];
}
