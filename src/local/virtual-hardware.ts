import { IntegrityError } from "../errors.js";
import type { DiskNode, NetworkCard, VmDescription } from "../hypervisor.js";
import type { Vmx } from "../image/vmx.js";
import { bytes, MIB } from "../units.js";
import { DISKS_MAX } from "./limits.js";

/** A disk as the .vmx file hangs it in. */
export interface DiskSlot {
  /** `scsi0:1` */
  readonly key: string;
  readonly node: DiskNode;
  /** Of its controller, as the .vmx file says; undefined where it says nothing. */
  readonly virtualDev: string | undefined;
  readonly fileName: string;
  readonly deviceType: string;
  /** `persistent`, `independent_persistent` … */
  readonly mode: string;
  readonly isControllerOff: boolean;
}

const SLOT = /^(scsi|sata|ide|nvme)(\d{1,2}):(\d{1,3})\.filename$/;
const BUSES: readonly DiskNode["bus"][] = ["scsi", "sata", "ide", "nvme"];

/**
 * The disks of a VM in the order of buses, controllers and units; CD-ROM drives are none.
 * @throws IntegrityError when there are far too many
 */
export function diskSlots(vmx: Vmx): DiskSlot[] {
  const slots: DiskSlot[] = [];
  for (const key of vmx.keys()) {
    const [, bus, controller, unit] = SLOT.exec(key) ?? [];
    if (bus === undefined || controller === undefined || unit === undefined) continue;
    const slot = `${bus}${controller}:${unit}`;
    const deviceType = vmx.get(`${slot}.deviceType`)?.toLowerCase() ?? "";
    if (vmx.flag(`${slot}.present`) !== true || /cdrom/.test(deviceType)) continue;
    if (slots.length >= DISKS_MAX) {
      throw new IntegrityError(`Cannot use .vmx file: it lists more than ${DISKS_MAX} disks`);
    }
    slots.push({
      key: slot,
      node: { bus: bus as DiskNode["bus"], busNumber: Number(controller), unit: Number(unit) },
      virtualDev: vmx.get(`${bus}${controller}.virtualDev`)?.toLowerCase(),
      fileName: vmx.get(`${slot}.fileName`) ?? "",
      deviceType,
      mode: (vmx.get(`${slot}.mode`) ?? "persistent").toLowerCase().replaceAll("-", "_"),
      isControllerOff: vmx.flag(`${bus}${controller}.present`) === false,
    });
  }
  const rank = ({ node }: DiskSlot): number => (BUSES.indexOf(node.bus) * 100 + node.busNumber) * 1000 + node.unit;
  return slots.sort((a, b) => rank(a) - rank(b));
}

const SCSI_MODELS: Readonly<Record<string, string>> = {
  pvscsi: "ParaVirtualSCSIController",
  lsilogic: "VirtualLsiLogicController",
  lsisas1068: "VirtualLsiLogicSASController",
  buslogic: "VirtualBusLogicController",
};

/** The controller in the words of the vSphere API, so that a catalog reads the same wherever the VM was. */
export function controllerModel(slot: DiskSlot, adapter: string | undefined): string {
  switch (slot.node.bus) {
    case "scsi": {
      const model = slot.virtualDev ?? adapter?.toLowerCase() ?? "lsilogic";
      return SCSI_MODELS[model] ?? (slot.virtualDev === undefined ? "VirtualLsiLogicController" : model);
    }
    case "sata":
      return "VirtualAHCIController";
    case "nvme":
      return "VirtualNVMEController";
    case "ide":
    case "xvd":
      return "VirtualIDEController";
  }
}

/** Processors, memory and network cards. */
export function hardwareOf(vmx: Vmx): VmDescription["hardware"] {
  const version = vmx.count("virtualHW.version");
  return {
    version: version === undefined ? undefined : `vmx-${String(version).padStart(2, "0")}`,
    guestId: vmx.get("guestOS"),
    guestName: undefined,
    firmware: vmx.get("firmware")?.toLowerCase() ?? "bios",
    cpus: vmx.count("numvcpus") ?? 1,
    coresPerSocket: vmx.count("cpuid.coresPerSocket"),
    memory: bytes((vmx.count("memSize") ?? 0) * MIB),
    networks: networkCards(vmx),
  };
}

const CARD_MODELS: Readonly<Record<string, string>> = {
  vmxnet3: "VirtualVmxnet3",
  vmxnet2: "VirtualVmxnet2",
  vmxnet: "VirtualVmxnet",
  e1000: "VirtualE1000",
  e1000e: "VirtualE1000e",
  vlance: "VirtualPCNet32",
};
/** A VM has at most ten. */
const CARDS_MAX = 10;

function networkCards(vmx: Vmx): NetworkCard[] {
  const cards: NetworkCard[] = [];
  for (let number = 0; number < CARDS_MAX; number++) {
    const get = (key: string): string | undefined => vmx.get(`ethernet${number}.${key}`);
    if (vmx.flag(`ethernet${number}.present`) !== true) continue;
    const model = get("virtualDev")?.toLowerCase() ?? "vlance";
    cards.push({
      label: `Network adapter ${cards.length + 1}`,
      model: CARD_MODELS[model] ?? model,
      mac: get("address") ?? get("generatedAddress"),
      network: get("networkName") ?? get("connectionType"),
    });
  }
  return cards;
}
