import { createHash } from "node:crypto";
import { IntegrityError } from "../../errors.js";
import { type Bytes, GIB, SECTOR_BYTES, bytesToSectors, sectors } from "../../units.js";
import { NO_PARENT_CID, parseDescriptor, type VmdkDescriptor, type VmdkExtent } from "./descriptor.js";
import { hasControlCharacters } from "./descriptor-lines.js";

/**
 * Writes a descriptor as text with LF; `parseDescriptor` gives the same descriptor back.
 * @throws IntegrityError when a value cannot be written, such as a name with a line break
 */
export function formatDescriptor(descriptor: VmdkDescriptor): string {
  const ddb = [...descriptor.ddb].map(([key, value]) => field(key, quoted(value)));
  const text = [
    "# Disk DescriptorFile",
    `version=${descriptor.version}`,
    ...(descriptor.encoding === undefined ? [] : [field("encoding", quoted(descriptor.encoding))]),
    `CID=${hex32(descriptor.cid)}`,
    `parentCID=${hex32(descriptor.parentCid)}`,
    field("createType", quoted(descriptor.createType)),
    ...(descriptor.parentFileNameHint === undefined
      ? []
      : [field("parentFileNameHint", quoted(descriptor.parentFileNameHint))]),
    "",
    "# Extent description",
    ...descriptor.extents.map(extentLine),
    "",
    "# The Disk Data Base",
    "#DDB",
    "",
    ...ddb,
    "",
  ].join("\n");
  // What we write must pass our own rules for reading.
  parseDescriptor(text);
  return text;
}

function extentLine(extent: VmdkExtent): string {
  const head = `${extent.access} ${extent.sectors} ${extent.type}`;
  if (extent.name === undefined) return head;
  // qemu wants the offset of a FLAT extent and refuses one on any other.
  return `${head} ${quoted(extent.name)}${extent.type === "FLAT" || extent.offset > 0 ? ` ${extent.offset}` : ""}`;
}

function field(key: string, value: string): string {
  return key.startsWith("ddb.") ? `${key} = ${value}` : `${key}=${value}`;
}

function quoted(value: string): string {
  if (hasControlCharacters(value)) {
    throw new IntegrityError(`Cannot write VMDK descriptor: ${JSON.stringify(value)} holds control characters`);
  }
  return `"${value}"`;
}

function hex32(value: number): string {
  return value.toString(16).padStart(8, "0");
}

/** The controllers that a hosted descriptor can name; every SCSI, SATA and NVMe disk is written as lsilogic. */
export type VmdkAdapter = "ide" | "lsilogic" | "buslogic";

export interface FlatDescriptorOptions {
  /** A multiple of 512 bytes. */
  readonly capacity: Bytes;
  /** The bare name of the flat file beside the descriptor. */
  readonly extentName: string;
  readonly adapter: VmdkAdapter;
  /** `"4"` to `"21"`, without the `vmx-` of the server's word. */
  readonly hardwareVersion: string;
  readonly cid: number;
  readonly thin: boolean;
}

/**
 * A hosted descriptor over one flat file: qemu-img, VMware Workstation and vmware-vdiskmanager open it. It carries no
 * `ddb.uuid`: a restored copy beside the original disk must not claim its SCSI identity.
 * @throws IntegrityError for a capacity that is no whole number of sectors, or a name that is not bare
 */
export function flatDescriptor(options: FlatDescriptorOptions): VmdkDescriptor {
  const { capacity, cid } = options;
  if (capacity % SECTOR_BYTES !== 0) {
    throw new IntegrityError(`Cannot describe a disk of ${capacity} bytes: that is no multiple of ${SECTOR_BYTES}`);
  }
  const [cylinders, heads, perTrack] = geometry(capacity, options.adapter);
  const extent: VmdkExtent = {
    access: "RW",
    sectors: bytesToSectors(capacity),
    type: "FLAT",
    name: options.extentName,
    offset: sectors(0),
  };
  return {
    version: 1,
    encoding: "UTF-8",
    cid,
    parentCid: NO_PARENT_CID,
    createType: "monolithicFlat",
    extents: [extent],
    ddb: new Map([
      ["ddb.adapterType", options.adapter],
      ["ddb.geometry.cylinders", String(cylinders)],
      ["ddb.geometry.heads", String(heads)],
      ["ddb.geometry.sectors", String(perTrack)],
      ["ddb.longContentID", longContentId(cid)],
      ...(options.thin ? [["ddb.thinProvisioned", "1"] as const] : []),
      ["ddb.virtualHWVersion", options.hardwareVersion],
    ]),
  };
}

/** Cylinders, heads and sectors per track as VMware's tools derive them from adapter and size. */
function geometry(capacity: Bytes, adapter: VmdkAdapter): readonly [number, number, number] {
  const [heads, perTrack] = adapter === "ide" ? [16, 63] : capacity > GIB ? [255, 63] : [64, 32];
  const cylinders = Math.floor(capacity / (heads * perTrack * SECTOR_BYTES));
  // ATA-4 ends CHS at 16383 cylinders; larger disks are addressed by block.
  return [Math.max(1, adapter === "ide" ? Math.min(cylinders, 16383) : cylinders), heads, perTrack];
}

/** The low 8 digits repeat the content id, as VMware's own do. */
function longContentId(cid: number): string {
  return createHash("sha256").update(`long content id ${cid}`).digest("hex").slice(0, 24) + hex32(cid);
}

/**
 * A content id from what identifies the content (disk and snapshot), so that two mounts of one snapshot show the same
 * descriptor. Never one of the two values with a meaning of their own.
 */
export function contentId(identity: string): number {
  const cid = createHash("sha256").update(identity).digest().readUInt32BE(0);
  return cid >= 0xfffffffe ? cid - 2 : cid;
}
