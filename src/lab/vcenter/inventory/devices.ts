import type { LabDisk } from "../../disk/lab-disk.js";
import { SECTOR_BYTES } from "../../../units.js";
import type { OpenLink } from "../../disk/link.js";
import type { VmdkDescriptor } from "../../../image/vmdk/descriptor.js";
import type { Machine, MachineSnapshot } from "../../machine.js";
import type { ControllerSlot, NetworkSlot } from "../../vm-folder.js";
import { data, type Data, type Moref, type Value } from "../values.js";

/** Morefs that a device list mentions. */
export interface DevicePlaces {
  readonly datastore: Moref;
  readonly network: Moref;
}

/** Unit that a SCSI controller takes on its own bus. */
const SCSI_CONTROLLER_UNIT = 7;
const BUS_WORDS = { scsi: "SCSI", sata: "SATA", ide: "IDE", nvme: "NVME" } as const;

/** `config.hardware.device`: as it is now, or as a snapshot froze it. */
export function devices(machine: Machine, places: DevicePlaces, at: MachineSnapshot | undefined): Data[] {
  const { controllers, networks } = machine.files;
  return [
    ...controllers.filter(({ bus }) => bus === "ide").map((slot) => controller(machine, slot)),
    fixed("VirtualPS2Controller", 300, "PS2 controller 0", { busNumber: 0, device: [600, 700] }),
    fixed("VirtualPCIController", 100, "PCI controller 0", { busNumber: 0, device: pciDevices(machine) }),
    fixed("VirtualSIOController", 400, "SIO controller 0", { busNumber: 0 }),
    fixed("VirtualKeyboard", 600, "Keyboard", { controllerKey: 300, unitNumber: 0 }),
    fixed("VirtualPointingDevice", 700, "Pointing device", { controllerKey: 300, unitNumber: 1 }),
    fixed("VirtualMachineVideoCard", 500, "Video card", { controllerKey: 100, unitNumber: 0, videoRamSizeInKB: 4096 }),
    fixed("VirtualMachineVMCIDevice", 12000, "VMCI device", { controllerKey: 100, unitNumber: 17 }),
    ...controllers.filter(({ bus }) => bus !== "ide").map((slot) => controller(machine, slot)),
    ...machine.disks.map((disk, index) => diskDevice(machine, disk, index + 1, places, at)),
    ...networks.map((slot, index) => network(slot, index + 1, places)),
  ];
}

function fixed(is: string, key: number, label: string, fields: Readonly<Record<string, Value>>): Data {
  return data(is, { key, deviceInfo: data("Description", { label, summary: label }), ...fields });
}

function pciDevices(machine: Machine): number[] {
  const { controllers, networks } = machine.files;
  return [
    500,
    12000,
    ...controllers.filter(({ bus }) => bus !== "ide").map(({ key }) => key),
    ...networks.map(({ key }) => key),
  ];
}

function controller(machine: Machine, slot: ControllerSlot): Data {
  const device = machine.disks.filter((disk) => disk.slot.controllerKey === slot.key).map((disk) => disk.key);
  const label = `${BUS_WORDS[slot.bus]} ${slot.bus === "ide" ? "" : "controller "}${slot.busNumber}`;
  const summary = slot.model.replace(/^Virtual/, "").replace(/Controller$/, "");
  return data(slot.model, {
    key: slot.key,
    deviceInfo: data("Description", { label, summary }),
    ...(slot.bus === "ide" ? {} : { controllerKey: 100, unitNumber: 3 + slot.busNumber }),
    busNumber: slot.busNumber,
    device,
    ...(slot.bus === "scsi"
      ? { hotAddRemove: true, sharedBus: "noSharing", scsiCtlrUnitNumber: SCSI_CONTROLLER_UNIT }
      : {}),
  });
}

function diskDevice(
  machine: Machine,
  disk: LabDisk,
  number: number,
  places: DevicePlaces,
  at: MachineSnapshot | undefined,
): Data {
  const frozen = at?.disks.get(disk.key);
  const chain = frozen === undefined ? disk.links : disk.chainTo(frozen.frozen);
  const live = machine.changeTracking && !disk.isOutsideSnapshots ? disk.changes.changeId : undefined;
  const changeId = at === undefined ? live : frozen?.changeId;
  return data("VirtualDisk", {
    key: disk.key,
    deviceInfo: data("Description", {
      label: `Hard disk ${number}`,
      summary: `${(disk.capacity / 1024).toLocaleString("en-US")} KB`,
    }),
    backing: backing(machine, disk, chain, changeId, places),
    controllerKey: disk.slot.controllerKey,
    unitNumber: disk.slot.unit,
    capacityInKB: Math.floor(disk.capacity / 1024),
    capacityInBytes: disk.capacity,
    shares: data("SharesInfo", { shares: 1000, level: "normal" }),
    diskObjectId: `${disk.slot.controllerKey}-${disk.key}`,
    nativeUnmanagedLinkedClone: false,
  });
}

function backing(
  machine: Machine,
  disk: LabDisk,
  chain: readonly OpenLink[],
  changeId: string | undefined,
  places: DevicePlaces,
): Data {
  const newest = chain.at(-1);
  if (newest === undefined) throw new TypeError(`Disk ${disk.key} has no link`);
  const parents = chain.slice(0, -1);
  const parent = parents.length === 0 ? undefined : backing(machine, disk, parents, undefined, places);
  const { descriptor } = newest;
  const common = {
    fileName: machine.datastorePath(newest.link.files.descriptor),
    datastore: places.datastore,
    diskMode: disk.slot.mode,
    uuid: diskUuid(disk.base),
    contentId: contentId(descriptor),
    changeId,
    parent,
    sharing: disk.slot.sharing,
  };
  if (descriptor.extents[0]?.type === "VMFSRDM") {
    return data("VirtualDiskRawDiskMappingVer1BackingInfo", {
      ...common,
      lunUuid: "0200000000600508b1001c0000000000000000000000000000000000",
      deviceName: `vml.${common.uuid.replaceAll("-", "")}`,
      compatibilityMode: disk.isPhysicalRdm ? "physicalMode" : "virtualMode",
    });
  }
  const thin = disk.base.ddb.get("ddb.thinProvisioned") === "1";
  return data("VirtualDiskFlatVer2BackingInfo", {
    ...common,
    split: false,
    writeThrough: false,
    thinProvisioned: thin || parent !== undefined,
    ...(thin || parent !== undefined ? {} : { eagerlyScrub: false }),
    digestEnabled: false,
    ...(parent === undefined
      ? {}
      : {
          deltaDiskFormat: "redoLogFormat",
          deltaGrainSize: SECTOR_BYTES,
          deltaDiskFormatVariant: "vmfsSparseVariant",
        }),
  });
}

/** `60 00 C2 9a …` of the descriptor in the form of the API: `6000C29a-…`. */
function diskUuid(base: VmdkDescriptor): string {
  const hex = (base.ddb.get("ddb.uuid") ?? "").replace(/[\s-]/g, "");
  if (!/^[0-9a-f]{32}$/i.test(hex)) return `6000C290-0000-0000-0000-${base.cid.toString(16).padStart(12, "0")}`;
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20)}`;
}

/** 32 hex digits whose last 8 are the content id of the descriptor. */
function contentId(descriptor: VmdkDescriptor): string {
  const long = descriptor.ddb.get("ddb.longContentID") ?? "";
  return `${long.slice(0, 24).padStart(24, "0")}${descriptor.cid.toString(16).padStart(8, "0")}`;
}

function network(slot: NetworkSlot, number: number, places: DevicePlaces): Data {
  return data(slot.model, {
    key: slot.key,
    deviceInfo: data("Description", { label: `Network adapter ${number}`, summary: slot.network }),
    backing: data("VirtualEthernetCardNetworkBackingInfo", { deviceName: slot.network, network: places.network }),
    connectable: data("VirtualDeviceConnectInfo", {
      startConnected: true,
      allowGuestControl: true,
      connected: true,
      status: "ok",
    }),
    controllerKey: 100,
    unitNumber: 6 + number,
    addressType: "assigned",
    macAddress: slot.mac,
    wakeOnLanEnabled: true,
  });
}
