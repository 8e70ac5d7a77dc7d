import { IntegrityError } from "../../errors.js";
import { SECTOR_BYTES, sectors, type Sectors } from "../../units.js";
import { DescriptorReader, type Fields } from "./descriptor-lines.js";

export interface VmdkExtent {
  readonly access: "RW" | "RDONLY" | "NOACCESS";
  readonly sectors: Sectors;
  /** In capitals: FLAT, SPARSE, ZERO, VMFS, VMFSSPARSE, SESPARSE … */
  readonly type: string;
  /** A bare file name beside the descriptor; absent for ZERO only. */
  readonly name?: string;
  /** Where the extent's data begins inside the file. */
  readonly offset: Sectors;
}

export interface VmdkDescriptor {
  /** 1 to 3; 3 = changes are tracked, the data reads as with 1. */
  readonly version: number;
  readonly encoding?: string;
  /** Content id: changes whenever the link is written. An unsigned 32-bit number. */
  readonly cid: number;
  /** The parent's `cid` when this link was made; `NO_PARENT_CID` for a base. */
  readonly parentCid: number;
  readonly createType: string;
  /** A path that the reader must still confine to the datastore; present exactly when there is a parent. */
  readonly parentFileNameHint?: string;
  /** In disk order; never empty. */
  readonly extents: readonly VmdkExtent[];
  /** The disk database: keys such as `ddb.adapterType`, in the order of the file. */
  readonly ddb: ReadonlyMap<string, string>;
}

export const NO_PARENT_CID = 0xffffffff;

/** 4096 extents of 2 GiB make 8 TiB; split disks stop well below. */
const DESCRIPTOR_EXTENTS_MAX = 4096;
/** The largest virtual disk of vSphere is 62 TiB. */
const DISK_SECTORS_MAX = (64 * 1024 ** 4) / SECTOR_BYTES;
/** A path component of every Linux file system. */
const NAME_BYTES_MAX = 255;

/**
 * Reads a VMDK descriptor. It is untrusted input: whoever can write to a datastore can hand us one, so extents may only
 * name a file beside the descriptor, everything is bounded, and a line that is not understood is refused.
 *
 * Text after the first NUL is padding of an embedded descriptor. LF or CRLF; keys in any order and any case.
 * @throws IntegrityError that names the line
 */
export function parseDescriptor(text: string): VmdkDescriptor {
  const reader = new DescriptorReader(text);
  const extents: VmdkExtent[] = [];
  let total = 0;
  for (const line of reader.extentLines) {
    if (extents.length >= DESCRIPTOR_EXTENTS_MAX) {
      throw line.refuse(`it is extent ${extents.length + 1} and the limit is ${DESCRIPTOR_EXTENTS_MAX}`);
    }
    const extent = parseExtent(line.text, (reason) => line.refuse(reason));
    total += extent.sectors;
    if (total > DISK_SECTORS_MAX) throw line.refuse("the extents add up to more than 64 TiB");
    extents.push(extent);
  }
  if (extents.length === 0) throw new IntegrityError("Cannot use VMDK descriptor: it lists no extent");
  return { ...parseHeader(reader.header), extents, ddb: reader.ddb };
}

function parseHeader(header: Fields): Omit<VmdkDescriptor, "extents" | "ddb"> {
  const version = header.require("version");
  if (!/^[123]$/.test(version.value)) throw version.refuse("the version must be 1, 2 or 3");
  const encoding = header.find("encoding")?.value;
  const hint = header.find("parentFileNameHint");
  const parent = header.find("parentCID");
  const parentCid = parent === undefined ? NO_PARENT_CID : parseCid(parent.value, (reason) => parent.refuse(reason));
  if (hint !== undefined && parentCid === NO_PARENT_CID) throw hint.refuse("it names a parent but parentCID says none");
  if (hint?.value === "") throw hint.refuse("the name of the parent is empty");
  if (parent !== undefined && hint === undefined && parentCid !== NO_PARENT_CID) {
    throw parent.refuse("it has a parent but parentFileNameHint is absent");
  }
  const cid = header.require("CID");
  const createType = header.require("createType");
  if (createType.value === "") throw createType.refuse("the type is empty");
  return {
    version: Number(version.value),
    ...(encoding === undefined ? {} : { encoding }),
    cid: parseCid(cid.value, (reason) => cid.refuse(reason)),
    parentCid,
    createType: createType.value,
    ...(hint === undefined ? {} : { parentFileNameHint: hint.value }),
  };
}

/** Hexadecimal without fixed width; Xen Orchestra writes decimal, which shows in the 9th or 10th digit only. */
function parseCid(text: string, refuse: (reason: string) => IntegrityError): number {
  if (/^[0-9a-f]{1,8}$/i.test(text)) return Number.parseInt(text, 16);
  if (/^\d{9,10}$/.test(text) && Number(text) <= 0xffffffff) return Number(text);
  throw refuse("a content id has 1 to 8 hexadecimal digits");
}

const EXTENT_HEAD = /^(RW|RDONLY|NOACCESS)\s+(\d{1,15})\s+([A-Z0-9_]{1,32})(?:\s+(.*))?$/i;

/** `ACCESS SECTORS TYPE ["NAME" [OFFSET [PARTITION-UUID [DEVICE-ID]]]]`; a name may itself hold quotes. */
function parseExtent(text: string, refuse: (reason: string) => IntegrityError): VmdkExtent {
  const [, accessText, size, typeText, rest = ""] = EXTENT_HEAD.exec(text) ?? [];
  const type = typeText?.toUpperCase();
  const access = accessText?.toUpperCase();
  if (type === undefined || (access !== "RW" && access !== "RDONLY" && access !== "NOACCESS")) {
    throw refuse("an extent is written as ACCESS SECTORS TYPE");
  }
  const count = Number(size);
  if (count === 0 || count > DISK_SECTORS_MAX) throw refuse(`an extent has 1 to ${DISK_SECTORS_MAX} sectors`);
  if (type === "ZERO") {
    if (rest !== "") throw refuse("a ZERO extent has no file");
    return { access, sectors: sectors(count), type, offset: sectors(0) };
  }
  const [, name, tail = ""] = /^"(.*)"(.*)$/.exec(rest) ?? [];
  if (name === undefined) throw refuse("the extent's file name must stand in double quotes");
  const reason = unsafeExtentName(name);
  if (reason !== undefined) throw refuse(reason);
  const offsetText = /^(?:\s+(\d{1,15})(?:\s+\S+){0,2})?\s*$/.exec(tail);
  if (offsetText === null) throw refuse("what follows the file name is no offset in sectors");
  const offset = Number(offsetText[1] ?? "0");
  if (offset + count > DISK_SECTORS_MAX) throw refuse("the extent ends beyond 64 TiB of its file");
  return { access, sectors: sectors(count), type, name, offset: sectors(offset) };
}

/** Why `name` is not a bare file name: anything that could lead out of the descriptor's folder is refused. */
function unsafeExtentName(name: string): string | undefined {
  if (name === "" || name === "." || name === "..") return "the extent's file name is empty or a folder";
  if (/[/\\]/.test(name)) return "an extent must be a bare file name beside the descriptor, without / or \\";
  if (/^[a-z][\w+.-]*:/i.test(name)) return "an extent must be a file name, not a drive, URL or device";
  if (Buffer.byteLength(name) > NAME_BYTES_MAX) return `a file name has at most ${NAME_BYTES_MAX} bytes`;
  return undefined;
}
