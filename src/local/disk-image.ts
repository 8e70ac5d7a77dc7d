import { basename } from "node:path";
import { IntegrityError } from "../errors.js";
import { NO_PARENT_CID, parseDescriptor, type VmdkDescriptor } from "../image/vmdk/descriptor.js";
import { bytes, type Bytes, sectors, sectorsToBytes } from "../units.js";
import { DESCRIPTOR_BYTES_MAX, HEAD_BYTES } from "./limits.js";
import { type LocalRoot, type OpenedFile, readHead } from "./root.js";

/** What a .vmdk file says of itself. */
export interface DiskImage {
  /** Absolute. */
  readonly path: string;
  readonly capacity: Bytes;
  readonly createType: string;
  /** The file it is a delta of, as the descriptor names it. */
  readonly parentHint: string | undefined;
  readonly thin: boolean | undefined;
  readonly uuid: string | undefined;
  readonly adapter: string | undefined;
  /** Why its bytes cannot be read here, as "a …"; undefined for flat disks. */
  readonly unreadable: string | undefined;
  /** It stands for a device and not for files. */
  readonly isRawDevice: boolean;
  readonly descriptor: VmdkDescriptor | undefined;
}

const FLAT_TYPES: readonly string[] = ["FLAT", "VMFS"];
/** The createType of descriptors that lead to a device of the host or of a storage array. */
const RAW_TYPES: readonly string[] = [
  "fulldevice",
  "partitioneddevice",
  "vmfsrawdevicemap",
  "vmfspassthroughrawdevicemap",
  "vmfsrdm",
  "vmfsrdmp",
  "vmfsraw",
];

/**
 * Reads what a .vmdk file says of itself; no extent is looked at.
 * @throws IntegrityError for what is no VMDK, NotFoundError, AuthError
 */
export async function inspectDisk(path: string, root: LocalRoot): Promise<DiskImage> {
  await using file = await root.openFile(path);
  const head = Buffer.from(await readHead(file, Math.min(file.stats.size, HEAD_BYTES)));
  const magic = head.toString("latin1", 0, 4);
  if (magic === "KDMV" || magic === "COWD") return embedded(path, magic, head);
  const text = await descriptorText(file, head);
  const createType = /^\s*createType\s*=\s*"?(\w{1,64})/im.exec(text)?.[1] ?? "unknown";
  if (RAW_TYPES.includes(createType.toLowerCase())) {
    return { ...unknownDisk(path, createType), isRawDevice: true };
  }
  return described(path, parsed(path, text));
}

async function descriptorText(file: OpenedFile, head: Buffer): Promise<string> {
  if (!/^\ufeff?\s*#\s*Disk\s+DescriptorFile/i.test(head.toString("utf8", 0, 512))) {
    throw new IntegrityError(`Cannot use "${file.path}": it is no VMDK descriptor`, {
      hint: basename(file.path).endsWith("-flat.vmdk")
        ? "It holds the data of a disk: the .vmx must name the descriptor beside it"
        : undefined,
    });
  }
  if (file.stats.size > DESCRIPTOR_BYTES_MAX) {
    throw new IntegrityError(
      `Cannot use "${file.path}": its descriptor has ${file.stats.size} bytes and the limit is ${DESCRIPTOR_BYTES_MAX}`,
    );
  }
  const whole = file.stats.size === head.length ? head : await readHead(file, file.stats.size);
  return Buffer.from(whole).toString("utf8");
}

function parsed(path: string, text: string): VmdkDescriptor {
  try {
    return parseDescriptor(text);
  } catch (error) {
    if (!(error instanceof IntegrityError)) throw error;
    throw new IntegrityError(`Cannot use "${path}": ${error.message}`, { cause: error });
  }
}

function unknownDisk(path: string, createType: string): DiskImage {
  return {
    path,
    capacity: bytes(0),
    createType,
    parentHint: undefined,
    thin: undefined,
    uuid: undefined,
    adapter: undefined,
    unreadable: undefined,
    isRawDevice: false,
    descriptor: undefined,
  };
}

/** Where the header of an image with its data inside has its capacity, in sectors. */
const SPARSE_CAPACITY_AT = 12;
const COWD_CAPACITY_AT = 12;

function embedded(path: string, magic: "KDMV" | "COWD", head: Buffer): DiskImage {
  if (head.length < 512) throw new IntegrityError(`Cannot use "${path}": its header is cut off`);
  if (magic === "COWD") {
    const capacity = sectorsToBytes(sectors(head.readUInt32LE(COWD_CAPACITY_AT)));
    return { ...unknownDisk(path, "vmfsSparse"), capacity, unreadable: "a VMFS sparse delta (COWD)" };
  }
  const count = head.readBigUInt64LE(SPARSE_CAPACITY_AT);
  if (count > BigInt(2 ** 37)) throw new IntegrityError(`Cannot use "${path}": its header says more than 64 TiB`);
  const createType = /^createType="(\w{1,64})"/m.exec(head.toString("latin1", 512))?.[1] ?? "monolithicSparse";
  const capacity = sectorsToBytes(sectors(Number(count)));
  return { ...unknownDisk(path, createType), capacity, unreadable: `a hosted sparse image (${createType})` };
}

function described(path: string, descriptor: VmdkDescriptor): DiskImage {
  const { createType, extents, parentCid, parentFileNameHint, ddb } = descriptor;
  const count = extents.reduce((sum, extent) => sum + extent.sectors, 0);
  const thin = ddb.get("ddb.thinProvisioned");
  return {
    path,
    capacity: sectorsToBytes(sectors(count)),
    createType,
    parentHint: parentFileNameHint,
    thin: thin === undefined ? (createType.toLowerCase() === "vmfs" ? false : undefined) : thin === "1",
    uuid: ddb.get("ddb.uuid"),
    adapter: ddb.get("ddb.adapterType"),
    unreadable: parentCid === NO_PARENT_CID ? oddExtent(descriptor) : `a delta of a snapshot (${createType})`,
    isRawDevice: false,
    descriptor,
  };
}

function oddExtent({ createType, extents }: VmdkDescriptor): string | undefined {
  const odd = extents.find(
    ({ type, access }) => (!FLAT_TYPES.includes(type) && type !== "ZERO") || access === "NOACCESS",
  );
  if (odd === undefined) return undefined;
  return odd.access === "NOACCESS" ? "a disk with an extent that must not be accessed" : `a ${createType} image`;
}
