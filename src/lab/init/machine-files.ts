import { randomBytes } from "node:crypto";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { NO_PARENT_CID } from "../../image/vmdk/descriptor.js";
import { formatDescriptor } from "../../image/vmdk/descriptor-text.js";
import { bytes, bytesToSectors, sectors } from "../../units.js";
import { spacedUuid } from "../disk/change-log.js";
import { VmxFile } from "../vmx.js";

interface NewDisk {
  /** `scsi0:0` */
  readonly node: string;
  /** File name without `.vmdk`. */
  readonly stem: string;
  readonly size: number;
  readonly mode?: "independent-persistent";
}

export interface NewMachine {
  readonly folder: string;
  /** Stem of the .vmx and .nvram files. */
  readonly stem: string;
  readonly displayName: string;
  readonly annotation: string;
  readonly controller: "scsi0" | "sata0";
  readonly disks: readonly NewDisk[];
}

/** Size of the variable store of a machine with BIOS firmware. */
const NVRAM_BYTES = 8684;

/** Writes descriptors, .vmx and .nvram of a machine whose flat files are there. */
export async function writeMachineFiles(machine: NewMachine): Promise<void> {
  for (const disk of machine.disks) {
    await writeFile(join(machine.folder, `${disk.stem}.vmdk`), descriptorText(disk), { mode: 0o600, flag: "wx" });
  }
  await writeFile(join(machine.folder, `${machine.stem}.vmx`), vmxText(machine), { flag: "wx" });
  const nvram = randomBytes(NVRAM_BYTES);
  nvram.write("MRVN", "latin1");
  await writeFile(join(machine.folder, `${machine.stem}.nvram`), nvram, { mode: 0o600, flag: "wx" });
  await writeFile(join(machine.folder, "vmware.log"), "vmx| Log for VMware ESX, made by the lab\n", { flag: "wx" });
}

function descriptorText(disk: NewDisk): string {
  const cid = randomBytes(4).readUInt32BE(0) % (NO_PARENT_CID - 1);
  // VMware's prefix of a SCSI page-83 identity; its fourth byte begins with 9.
  const uuid = randomBytes(16);
  uuid.set([0x60, 0x00, 0xc2, 0x90 | ((uuid[3] ?? 0) % 16)]);
  return formatDescriptor({
    version: 1,
    encoding: "UTF-8",
    cid,
    parentCid: NO_PARENT_CID,
    createType: "vmfs",
    extents: [
      {
        access: "RW",
        sectors: bytesToSectors(bytes(disk.size)),
        type: "VMFS",
        name: `${disk.stem}-flat.vmdk`,
        offset: sectors(0),
      },
    ],
    ddb: new Map([
      ["ddb.adapterType", "lsilogic"],
      ["ddb.geometry.cylinders", String(Math.max(1, Math.floor(disk.size / (255 * 63 * 512))))],
      ["ddb.geometry.heads", "255"],
      ["ddb.geometry.sectors", "63"],
      ["ddb.longContentID", randomBytes(12).toString("hex") + cid.toString(16).padStart(8, "0")],
      ["ddb.thinProvisioned", "1"],
      ["ddb.uuid", spacedUuid(uuid)],
      ["ddb.virtualHWVersion", "19"],
    ]),
  });
}

function vmxText(machine: NewMachine): string {
  const vmx = VmxFile.parse("");
  const entries: [string, string][] = [
    [".encoding", "UTF-8"],
    ["config.version", "8"],
    ["virtualHW.version", "19"],
    ["displayName", escapedName(machine.displayName)],
    ["annotation", machine.annotation],
    ["guestOS", "debian12-64"],
    ["memSize", "2048"],
    ["numvcpus", "2"],
    ["cpuid.coresPerSocket", "1"],
    ["firmware", "bios"],
    ["nvram", `${machine.stem}.nvram`],
    ["uuid.bios", spacedUuid(Buffer.concat([Buffer.from("564d", "hex"), randomBytes(14)]))],
    ["vc.uuid", spacedUuid(Buffer.concat([Buffer.from("50", "hex"), randomBytes(15)]))],
    ["disk.EnableUUID", "TRUE"],
    [`${machine.controller}.present`, "TRUE"],
    ...(machine.controller === "scsi0" ? ([["scsi0.virtualDev", "pvscsi"]] as [string, string][]) : []),
    ...machine.disks.flatMap((disk) => diskEntries(disk)),
    ["ethernet0.present", "TRUE"],
    ["ethernet0.virtualDev", "vmxnet3"],
    ["ethernet0.networkName", "VM Network"],
    ["ethernet0.addressType", "static"],
    ["ethernet0.address", macAddress()],
    ["tools.syncTime", "FALSE"],
  ];
  for (const [key, value] of entries) vmx.set(key, value);
  return vmx.format();
}

function diskEntries(disk: NewDisk): [string, string][] {
  return [
    [`${disk.node}.present`, "TRUE"],
    [`${disk.node}.deviceType`, disk.node.startsWith("scsi") ? "scsi-hardDisk" : "disk"],
    [`${disk.node}.fileName`, `${disk.stem}.vmdk`],
    ...(disk.mode === undefined ? [] : ([[`${disk.node}.mode`, disk.mode]] as [string, string][])),
  ];
}

/** In VMware's range for addresses set by hand. */
function macAddress(): string {
  const [a = 0, b = 0, c = 0] = randomBytes(3);
  return ["00", "50", "56", ...[a % 64, b, c].map((byte) => byte.toString(16).padStart(2, "0"))].join(":");
}

function escapedName(name: string): string {
  return name.replaceAll("%", "%25").replaceAll("/", "%2f").replaceAll("\\", "%5c");
}
