import { basename, dirname } from "node:path";
import { MissingCapabilityError, VmmountError } from "../errors.js";
import type { DiskDescription, VmDescription, VmIdentity } from "../hypervisor.js";
import { uuidOfHexBytes, Vmx, VMX_BYTES_MAX } from "../image/vmx.js";
import { joinInventoryPath, unescapeInventoryName } from "../locator.js";
import { bytes } from "../units.js";
import { type DiskImage, inspectDisk } from "./disk-image.js";
import { closeAll, openFlatFiles } from "./flat-files.js";
import type { VmFolder } from "./inventory.js";
import { SIGNS_SHOWN } from "./limits.js";
import type { LocalRoot } from "./root.js";
import { guessPowerState, lockSigns, recentWrite } from "./running-signs.js";
import { controllerModel, type DiskSlot, diskSlots, hardwareOf } from "./virtual-hardware.js";

/** @throws IntegrityError, NotFoundError, AuthError */
export async function readVmx(vm: VmFolder, root: LocalRoot): Promise<Vmx> {
  return Vmx.parse(await root.readSmall(vm.vmxPath, VMX_BYTES_MAX));
}

/** Who a VM is; without `vmx`, what its file names alone tell. */
export function identify(vm: VmFolder, vmx: Vmx | undefined): VmIdentity {
  const display = vmx?.get("displayName") ?? "";
  return {
    ref: vm.ref,
    name: display === "" ? basename(vm.vmxPath).replace(/\.vmx$/i, "") : unescapeInventoryName(display),
    path: joinInventoryPath(vm.names),
    instanceUuid: uuidOfHexBytes(vmx?.get("vc.uuid")),
    biosUuid: uuidOfHexBytes(vmx?.get("uuid.bios")),
    powerState: guessPowerState(vm.beside),
    addresses: [],
  };
}

/**
 * A VM from its files, and what shows that somebody writes to its disks.
 * @throws MissingCapabilityError for an encrypted VM; IntegrityError, NotFoundError, AuthError for files
 */
export async function describe(vm: VmFolder, root: LocalRoot): Promise<VmDescription> {
  const vmx = await readVmx(vm, root);
  const identity = identify(vm, vmx);
  // Its list of disks is part of what is encrypted: without this it would be a VM without disks.
  if (vmx.get("encryption.keySafe") !== undefined) {
    throw new MissingCapabilityError(`Cannot read "${identity.name}": "${vm.vmxPath}" is encrypted`, {
      hint: "Remove the encryption in VMware Workstation, or back the VM up through its vCenter",
    });
  }
  const disks: ExaminedDisk[] = [];
  for (const slot of diskSlots(vmx)) disks.push(await examineDisk(slot, disks.length + 1, vm, root));
  return {
    identity,
    hardware: hardwareOf(vmx),
    disks: disks.map(({ description }) => description),
    configPath: vm.vmxPath,
    isTemplate: false,
    changeTracking: false,
    toolsRunning: false,
    consolidationNeeded: false,
    snapshotObstacles: [],
    runningSigns: await runningSigns(vm, disks, root),
  };
}

interface ExaminedDisk {
  readonly description: DiskDescription;
  /** What shows that it was written a moment ago, in words. */
  readonly recentWrites: readonly string[];
}

async function examineDisk(slot: DiskSlot, number: number, vm: VmFolder, root: LocalRoot): Promise<ExaminedDisk> {
  const path = diskPath(slot, vm, root);
  const excludedBecause = path === undefined || slot.isControllerOff ? exclusion(slot, root) : undefined;
  const isRaw = /raw|plain/.test(slot.deviceType);
  const isLeftOut = path === undefined || isRaw || excludedBecause !== undefined;
  const { image, unreadableBecause, recentWrites } = isLeftOut ? NOTHING : await examineFiles(path, root);
  const description = {
    key: slot.key,
    label: `Hard disk ${number}`,
    node: slot.node,
    controllerModel: controllerModel(slot, image?.adapter),
    capacity: image?.capacity ?? bytes(0),
    backing: image?.createType ?? "unknown",
    path: path ?? slot.fileName,
    parents: image?.parentHint === undefined ? [] : [image.parentHint],
    mode: slot.mode,
    thin: image?.thin,
    uuid: uuidOfHexBytes(image?.uuid),
    changeId: undefined,
    excludedBecause:
      excludedBecause ??
      (isRaw || image?.isRawDevice === true
        ? `the disk is a raw device (${image?.createType ?? slot.deviceType}), whose data is in no file`
        : undefined),
    ...(unreadableBecause !== undefined && { unreadableBecause }),
  };
  return { description, recentWrites };
}

interface ExaminedFiles {
  readonly image: DiskImage | undefined;
  readonly unreadableBecause: string | undefined;
  readonly recentWrites: readonly string[];
}

const NOTHING: ExaminedFiles = { image: undefined, unreadableBecause: undefined, recentWrites: [] };

/** A file that is missing or damaged must not hide the VM's other disks: opening that one disk will fail. */
async function examineFiles(path: string, root: LocalRoot): Promise<ExaminedFiles> {
  let image: DiskImage | undefined;
  try {
    image = await inspectDisk(path, root);
    if (image.unreadable !== undefined) {
      return { image, unreadableBecause: `its file is ${image.unreadable}`, recentWrites: [] };
    }
    return { image, unreadableBecause: undefined, recentWrites: await recentWritesTo(image, root, new Date()) };
  } catch (error) {
    if (!(error instanceof VmmountError)) throw error;
    return { image, unreadableBecause: error.message, recentWrites: [] };
  }
}

/** Undefined when the file would lie outside of the root. */
export function diskPath(slot: DiskSlot, vm: VmFolder, root: LocalRoot): string | undefined {
  return slot.fileName.startsWith("/") ? root.inside(slot.fileName) : root.inside(`${vm.folder}/${slot.fileName}`);
}

function exclusion(slot: DiskSlot, root: LocalRoot): string {
  if (slot.isControllerOff) return "its controller is switched off in the .vmx file";
  return `its file "${slot.fileName}" lies outside of the folder "${root.folder}"`;
}

/** What shows that the VM runs or its disks are being written, in words. */
async function runningSigns(vm: VmFolder, disks: readonly ExaminedDisk[], root: LocalRoot): Promise<string[]> {
  const folders = new Set(
    disks
      .map(({ description }) => description)
      .filter((disk) => disk.excludedBecause === undefined && disk.unreadableBecause === undefined)
      .map(({ path }) => dirname(path)),
  );
  folders.delete(vm.folder);
  const signs = lockSigns(vm.beside);
  for (const folder of folders) signs.push(...lockSigns(await root.entries(folder)));
  signs.push(...disks.flatMap(({ recentWrites }) => recentWrites));
  return signs.length <= SIGNS_SHOWN
    ? signs
    : [...signs.slice(0, SIGNS_SHOWN), `and ${signs.length - SIGNS_SHOWN} more signs`];
}

async function recentWritesTo({ path, descriptor }: DiskImage, root: LocalRoot, now: Date): Promise<string[]> {
  if (descriptor === undefined) return [];
  const { files } = await openFlatFiles(path, descriptor, root);
  try {
    return files.flatMap((file) => recentWrite(basename(file.path), file.stats.mtime, now));
  } finally {
    await closeAll(files);
  }
}
