import { readdir, readFile, stat } from "node:fs/promises";
import { basename, join } from "node:path";
import { ConfigError } from "../errors.js";
import { VMX_BYTES_MAX, VmxFile } from "./vmx.js";

type Bus = "scsi" | "sata" | "ide" | "nvme";

export interface ControllerSlot {
  readonly key: number;
  readonly bus: Bus;
  readonly busNumber: number;
  /** The type of the API: `ParaVirtualSCSIController` … */
  readonly model: string;
}

export interface DiskSlot {
  readonly key: number;
  readonly controllerKey: number;
  readonly bus: Bus;
  readonly busNumber: number;
  readonly unit: number;
  /** `persistent`, `independent_persistent` … */
  readonly mode: string;
  readonly sharing: string;
  /** Absolute path of the descriptor that the .vmx names: the newest link. */
  readonly path: string;
}

export interface NetworkSlot {
  readonly key: number;
  readonly model: string;
  readonly network: string;
  readonly mac: string;
}

/** What a folder with a .vmx file says about a machine. */
export interface VmFolder {
  readonly path: string;
  /** File name of the .vmx. */
  readonly vmxName: string;
  readonly vmx: VmxFile;
  readonly displayName: string;
  readonly controllers: readonly ControllerSlot[];
  readonly disks: readonly DiskSlot[];
  readonly networks: readonly NetworkSlot[];
}

const SCSI_MODELS: Readonly<Record<string, string>> = {
  lsilogic: "VirtualLsiLogicController",
  lsisas1068: "VirtualLsiLogicSASController",
  buslogic: "VirtualBusLogicController",
  pvscsi: "ParaVirtualSCSIController",
};

/** Device keys as ESXi gives them: [first key of the controllers, first key of the disks, disks per controller]. */
const KEYS: Readonly<Record<Bus, readonly [number, number, number]>> = {
  ide: [200, 3000, 2],
  scsi: [1000, 2000, 16],
  sata: [15000, 16000, 30],
  nvme: [31000, 32000, 15],
};

const NIC_MODELS: Readonly<Record<string, string>> = {
  e1000: "VirtualE1000",
  e1000e: "VirtualE1000e",
  vmxnet3: "VirtualVmxnet3",
};

/** @returns undefined when the folder holds no .vmx file */
export async function readVmFolder(path: string): Promise<VmFolder | undefined> {
  const names = (await readdir(path)).filter((name) => name.endsWith(".vmx")).sort();
  const [vmxName] = names;
  if (vmxName === undefined) return undefined;
  const file = join(path, vmxName);
  if ((await stat(file)).size > VMX_BYTES_MAX) throw new ConfigError(`Cannot use ${file}: it is larger than 1 MiB`);
  const vmx = VmxFile.parse(await readFile(file, "utf8"));
  const slots = [...diskSlots(path, vmx)];
  return {
    path,
    vmxName,
    vmx,
    displayName: unescapeName(vmx.get("displayName") ?? basename(vmxName, ".vmx")),
    controllers: controllerSlots(vmx, slots),
    disks: slots,
    networks: networkSlots(vmx),
  };
}

function unescapeName(name: string): string {
  return name.replace(/%(2f|5c|25)/gi, (_, hex: string) => String.fromCharCode(Number.parseInt(hex, 16)));
}

function* diskSlots(folder: string, vmx: VmxFile): Generator<DiskSlot> {
  for (const key of vmx.keys()) {
    const match = /^(scsi|sata|ide|nvme)(\d):(\d{1,2})\.filename$/.exec(key);
    if (match === null) continue;
    const bus = match[1] as Bus;
    const busNumber = Number(match[2]);
    const unit = Number(match[3]);
    const node = `${bus}${busNumber}:${unit}`;
    if (!vmx.flag(`${node}.present`) || !isDisk(vmx.get(`${node}.deviceType`))) continue;
    const name = vmx.get(key) ?? "";
    if (name !== basename(name)) throw new ConfigError(`Cannot use disk "${name}": it must lie beside its .vmx file`);
    const [controllers, disks, perBus] = KEYS[bus];
    yield {
      key: disks + busNumber * perBus + unit,
      controllerKey: controllers + busNumber,
      bus,
      busNumber,
      unit,
      mode: (vmx.get(`${node}.mode`) ?? "persistent").replaceAll("-", "_"),
      sharing: vmx.get(`${node}.sharing`) === "multi-writer" ? "sharingMultiWriter" : "sharingNone",
      path: join(folder, name),
    };
  }
}

function isDisk(deviceType: string | undefined): boolean {
  return deviceType === undefined || /disk$/i.test(deviceType);
}

function controllerSlots(vmx: VmxFile, disks: readonly DiskSlot[]): ControllerSlot[] {
  const slots: ControllerSlot[] = [];
  for (const bus of ["ide", "scsi", "sata", "nvme"] as const) {
    for (let busNumber = 0; busNumber < 4; busNumber++) {
      const isUsed = disks.some((disk) => disk.bus === bus && disk.busNumber === busNumber);
      // Both IDE controllers are part of the chipset.
      const isThere = isUsed || vmx.flag(`${bus}${busNumber}.present`) || (bus === "ide" && busNumber < 2);
      if (isThere)
        slots.push({ key: KEYS[bus][0] + busNumber, bus, busNumber, model: controllerModel(vmx, bus, busNumber) });
    }
  }
  return slots;
}

function controllerModel(vmx: VmxFile, bus: Bus, busNumber: number): string {
  if (bus === "ide") return "VirtualIDEController";
  if (bus === "sata") return "VirtualAHCIController";
  if (bus === "nvme") return "VirtualNVMEController";
  const word = vmx.get(`scsi${busNumber}.virtualDev`)?.toLowerCase() ?? "buslogic";
  return SCSI_MODELS[word] ?? "VirtualLsiLogicController";
}

function networkSlots(vmx: VmxFile): NetworkSlot[] {
  const slots: NetworkSlot[] = [];
  for (let index = 0; index < 10; index++) {
    const card = `ethernet${index}`;
    if (!vmx.flag(`${card}.present`)) continue;
    slots.push({
      key: 4000 + index,
      model: NIC_MODELS[vmx.get(`${card}.virtualDev`)?.toLowerCase() ?? "e1000"] ?? "VirtualE1000",
      network: vmx.get(`${card}.networkName`) ?? "VM Network",
      mac: vmx.get(`${card}.address`) ?? vmx.get(`${card}.generatedAddress`) ?? "00:50:56:00:00:01",
    });
  }
  return slots;
}
