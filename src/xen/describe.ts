import { NotFoundError } from "../errors.js";
import type { CallOptions, NetworkCard, VmDescription } from "../hypervisor.js";
import { bytes } from "../units.js";
import { guestOf, isVm, needVm, toIdentity, unlessGone } from "./inventory.js";
import { parentChain, snapshotObstacles, storagesOf } from "./obstacles.js";
import type { SnapshotSupport } from "./storage.js";
import { describeDisk, loadDisks, type VmDisk } from "./vm-disks.js";
import { integer, isSet, list, map, reference, references, text, toRecord } from "./xapi/fields.js";
import type { XapiRecord } from "./xapi/value.js";
import type { Xapi } from "./xapi/xapi.js";

export interface DescribedVm {
  readonly description: VmDescription;
  /** Of the VM or, when one was asked for, of the snapshot. */
  readonly ref: string;
  readonly record: XapiRecord;
  readonly disks: readonly VmDisk[];
}

export interface DescribeScope extends CallOptions {
  readonly xapi: Xapi;
  readonly support: SnapshotSupport;
  readonly chainMax: number;
}

/** The VM as it is now or, with its hardware, as it was at the snapshot. @throws NotFoundError, XapiFault */
export async function describe(
  at: { readonly vm: string; readonly snapshot: string | undefined },
  scope: DescribeScope,
): Promise<DescribedVm> {
  const { xapi, support, signal } = scope;
  const now = await needVm(at.vm, xapi, { signal });
  if (!isVm(now.record)) throw new NotFoundError(`"${text(now.record, "name_label")}" is a template or a snapshot`);
  const frozen = at.snapshot === undefined ? now : await needVm(at.snapshot, xapi, { signal });
  if (frozen !== now && reference(frozen.record, "snapshot_of") !== now.ref) {
    throw new NotFoundError(`${at.snapshot ?? ""} is no snapshot of "${text(now.record, "name_label")}"`);
  }
  const [guest, disks, networks] = await Promise.all([
    guestOf(now.record, xapi, { signal }),
    loadDisks(frozen.record, xapi, { signal }),
    loadCards(frozen.record, xapi, { signal }),
  ]);
  const parents = await Promise.all(disks.map((disk) => parentChain(disk, scope)));
  const identity = toIdentity(now.record, guest);
  const description: VmDescription = {
    identity,
    hardware: hardwareOf(frozen.record, guest, networks),
    disks: disks.map((disk, index) => describeDisk(disk, support, parents[index])),
    configPath: undefined,
    isTemplate: false,
    changeTracking: disks.length > 0 && disks.every(({ vdi }) => isSet(vdi, "cbt_enabled")),
    toolsRunning: identity.powerState === "on" && hasDrivers(guest),
    consolidationNeeded: false,
    snapshotObstacles: frozen === now ? snapshotObstacles({ vm: now.record, disks, parents }, scope) : [],
    ...whyNotQuiesced(now.record, xapi),
    ...hostOf(now.record),
    ...(frozen === now && { storages: storagesOf(disks, support) }),
  };
  return { description, ref: frozen.ref, record: frozen.record, disks };
}

function hardwareOf(
  vm: XapiRecord,
  guest: XapiRecord | undefined,
  networks: readonly NetworkCard[],
): VmDescription["hardware"] {
  const platform = map(vm, "platform");
  const cores = Number(platform.get("cores-per-socket") ?? Number.NaN);
  const isPv = text(vm, "PV_bootloader") !== "" && text(vm, "HVM_boot_policy") === "";
  return {
    version: text(vm, "hardware_platform_version") || undefined,
    guestId: undefined,
    guestName: guest && map(guest, "os_version").get("name"),
    firmware: isPv ? "pv" : (map(vm, "HVM_boot_params").get("firmware") ?? "bios"),
    cpus: integer(vm, "VCPUs_max") ?? 0,
    coresPerSocket: Number.isSafeInteger(cores) && cores > 0 ? cores : undefined,
    memory: bytes(integer(vm, "memory_static_max") ?? 0),
    networks,
  };
}

async function loadCards(vm: XapiRecord, xapi: Pick<Xapi, "call">, options: CallOptions): Promise<NetworkCard[]> {
  const names = new Map<string, Promise<string>>();
  const nameOf = (ref: string): Promise<string> => {
    const known = names.get(ref) ?? xapi.call("network.get_name_label", [ref], options).then(String);
    names.set(ref, known);
    return known;
  };
  const one = async (ref: string): Promise<NetworkCard> => {
    const vif = toRecord(await xapi.call("VIF.get_record", [ref], options), "a VIF");
    const network = reference(vif, "network");
    return {
      label: `VIF ${text(vif, "device")}`,
      model: "xen-vif",
      mac: text(vif, "MAC") || undefined,
      network: network === undefined ? undefined : await unlessGone(() => nameOf(network)),
    };
  };
  const cards = await Promise.all(references(vm, "VIFs").map((ref) => unlessGone(() => one(ref))));
  return cards.filter((card) => card !== undefined).sort((a, b) => (a.label < b.label ? -1 : 1));
}

function hostOf(vm: XapiRecord): Pick<VmDescription, "host"> {
  const host = reference(vm, "resident_on");
  return host === undefined ? {} : { host };
}

function hasDrivers(guest: XapiRecord | undefined): boolean {
  return guest !== undefined && (isSet(guest, "PV_drivers_detected") || map(guest, "PV_drivers_version").size > 0);
}

/** A server that can quiesce this guest now lists the operation; from release 8.1 on none does. */
function whyNotQuiesced(vm: XapiRecord, { facts }: Pick<Xapi, "facts">): Pick<VmDescription, "quiesceObstacle"> {
  if (list(vm, "allowed_operations").includes("snapshot_with_quiesce")) return {};
  return {
    quiesceObstacle: `${facts.product} offers no quiesced snapshot of it: releases from 8.1 on have none, and earlier ones need Windows with the VSS provider of the guest tools`,
  };
}
