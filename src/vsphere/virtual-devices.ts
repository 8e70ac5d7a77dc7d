import { IntegrityError } from "../errors.js";
import type { DiskDescription, DiskNode, NetworkCard } from "../hypervisor.js";
import { KIB, type Bytes } from "../units.js";
import { child, integerAt, isTrue, textAt, toBytes } from "./element.js";
import type { XmlElement } from "./xml.js";

/** Bounds a hostile device list: vSphere allows 4 x 64 SCSI, 4 x 30 SATA and 4 x 15 NVMe disks. */
const DEVICES_MAX = 2048;
/** Parents of one disk; servers stop at 32 snapshots, and copies may add some. */
const CHAIN_MAX = 255;

interface Controller {
  readonly model: string;
  readonly bus: DiskNode["bus"] | undefined;
  readonly busNumber: number;
}

const BUSES: Readonly<Record<string, DiskNode["bus"]>> = {
  VirtualIDEController: "ide",
  VirtualSCSIController: "scsi",
  VirtualLsiLogicController: "scsi",
  VirtualLsiLogicSASController: "scsi",
  VirtualBusLogicController: "scsi",
  ParaVirtualSCSIController: "scsi",
  VirtualSATAController: "sata",
  VirtualAHCIController: "sata",
  VirtualNVMEController: "nvme",
};

/** The disks of `config.hardware.device`, in the server's order. @throws IntegrityError for a list that makes no sense */
export function parseDisks(devices: XmlElement | undefined): DiskDescription[] {
  const all = deviceList(devices);
  const controllers = new Map(all.map((device) => [integerAt(device, "key"), toController(device)]));
  return all
    .filter((device) => device.xsiType === "VirtualDisk")
    .map((device) => toDisk(device, controllers.get(integerAt(device, "controllerKey"))));
}

/** The network cards, found by their MAC address: models come and go. */
export function parseNetworkCards(devices: XmlElement | undefined): NetworkCard[] {
  return deviceList(devices)
    .filter((device) => child(device, "macAddress") !== undefined || child(device, "addressType") !== undefined)
    .map((device) => ({
      label: textAt(device, "deviceInfo", "label") ?? "",
      model: device.xsiType ?? "VirtualEthernetCard",
      mac: textAt(device, "macAddress"),
      network: textAt(device, "backing", "deviceName") ?? textAt(device, "backing", "port", "portgroupKey"),
    }));
}

function deviceList(devices: XmlElement | undefined): readonly XmlElement[] {
  const list = devices?.children ?? [];
  if (list.length > DEVICES_MAX) {
    throw new IntegrityError(`Cannot read the VM's devices: ${list.length} are listed and the limit is ${DEVICES_MAX}`);
  }
  return list;
}

function toController(device: XmlElement): Controller {
  const model = device.xsiType ?? "unknown controller";
  return { model, bus: BUSES[model], busNumber: integerAt(device, "busNumber") ?? 0 };
}

function toDisk(device: XmlElement, controller: Controller | undefined): DiskDescription {
  const backing = child(device, "backing");
  const kind = backing?.xsiType ?? "unknown backing";
  const key = textAt(device, "key") ?? "";
  return {
    key,
    label: textAt(device, "deviceInfo", "label") ?? `disk ${key}`,
    node: {
      bus: controller?.bus ?? "scsi",
      busNumber: controller?.busNumber ?? 0,
      unit: integerAt(device, "unitNumber") ?? 0,
    },
    controllerModel: controller?.model ?? "none",
    capacity: capacityOf(device),
    backing: kind,
    path: textAt(backing, "fileName") ?? textAt(backing, "descriptorFileName") ?? textAt(backing, "deviceName") ?? "",
    parents: parentPaths(backing),
    mode: textAt(backing, "diskMode") ?? "persistent",
    thin: child(backing, "thinProvisioned") === undefined ? undefined : isTrue(child(backing, "thinProvisioned")),
    uuid: textAt(backing, "uuid"),
    changeId: textAt(backing, "changeId"),
    excludedBecause: exclusion(kind, backing, controller),
  };
}

function capacityOf(device: XmlElement): Bytes {
  const exact = child(device, "capacityInBytes");
  const kib = child(device, "capacityInKB");
  if (exact !== undefined) return toBytes(exact);
  if (kib !== undefined) return toBytes(kib, KIB);
  throw new IntegrityError(`Cannot read the VM's devices: disk ${textAt(device, "key") ?? ""} has no capacity`);
}

function parentPaths(backing: XmlElement | undefined): string[] {
  const paths: string[] = [];
  for (
    let link = child(backing, "parent");
    link !== undefined && paths.length < CHAIN_MAX;
    link = child(link, "parent")
  ) {
    paths.push(textAt(link, "fileName") ?? "");
  }
  return paths;
}

/** Why no snapshot holds this disk's bytes. */
function exclusion(
  kind: string,
  backing: XmlElement | undefined,
  controller: Controller | undefined,
): string | undefined {
  const mode = textAt(backing, "diskMode") ?? "";
  if (mode.startsWith("independent_")) return `the disk is independent (${mode}), so snapshots leave it out`;
  if (textAt(backing, "compatibilityMode") === "physicalMode") {
    return "the disk is a raw device mapping in physical mode, which cannot be part of a snapshot";
  }
  if (textAt(backing, "sharing") === "sharingMultiWriter") {
    return "the disk is shared by several writers (multi-writer), which rules out snapshots";
  }
  if (child(backing, "keyId") !== undefined) {
    return "the disk is encrypted, and its files on the datastore hold only cipher text";
  }
  if (kind === "VirtualDiskLocalPMemBackingInfo")
    return "the disk lives in persistent memory, which rules out snapshots";
  if (kind.includes("RawDiskVer2") || kind.includes("PartitionedRaw")) {
    return "the disk is a raw device of a hosted product, which cannot be part of a snapshot";
  }
  if (controller?.bus === undefined) {
    return `the disk hangs on a controller that is not known here (${controller?.model ?? "none"})`;
  }
  return undefined;
}
