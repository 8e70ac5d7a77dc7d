/**
 * Dynamic VHD, as far as allocation goes: the footer (a copy of which begins the file), the dynamic header and the block
 * allocation table. Microsoft, "Virtual Hard Disk Image Format Specification". Everything is big-endian.
 */
import { padding, raw, struct, u16be, u32be, u64be, u64bigbe, viewOf } from "../binary.js";
import { IntegrityError } from "../errors.js";
import { bytes, type Bytes, SECTOR_BYTES } from "../units.js";

export const VHD_FOOTER_BYTES = 512;
export const VHD_HEADER_BYTES = 1024;
/** Of an entry of the table. */
const ENTRY_BYTES = 4;
const UNUSED = 0xffffffff;

/** "conectix" */
const FOOTER_COOKIE = 0x636f6e6563746978n;
/** "cxsparse" */
const HEADER_COOKIE = 0x6378737061727365n;
const TYPE_DYNAMIC = 3;
const TYPE_DIFFERENCING = 4;

const footer = struct(
  {
    cookie: u64bigbe,
    features: u32be,
    version: u32be,
    dataOffset: u64bigbe,
    timestamp: u32be,
    creatorApplication: u32be,
    creatorVersion: u32be,
    creatorOs: u32be,
    originalSize: u64be,
    currentSize: u64be,
    cylinders: u16be,
    headsAndSectors: u16be,
    type: u32be,
    checksum: u32be,
    uniqueId: raw(16),
    rest: padding(428),
  },
  VHD_FOOTER_BYTES,
  "VHD footer",
);

const header = struct(
  {
    cookie: u64bigbe,
    dataOffset: u64bigbe,
    tableOffset: u64be,
    version: u32be,
    entries: u32be,
    blockBytes: u32be,
    checksum: u32be,
    rest: padding(984),
  },
  VHD_HEADER_BYTES,
  "VHD dynamic header",
);

export interface VhdFooter {
  /** Of the disk; a writer may have rounded it up. */
  readonly currentSize: Bytes;
  readonly type: "dynamic" | "differencing";
  /** Where the dynamic header is in the file. */
  readonly headerOffset: Bytes;
}

export interface VhdHeader {
  readonly tableOffset: Bytes;
  /** At least those that the disk needs. */
  readonly entries: number;
  readonly blockBytes: Bytes;
}

/** @throws IntegrityError for anything but an intact footer of a dynamic or differencing disk */
export function parseVhdFooter(data: Uint8Array): VhdFooter {
  const fields = footer.decode(viewOf(data), 0);
  if (fields.cookie !== FOOTER_COOKIE) throw new IntegrityError("a VHD footer does not begin with its cookie");
  checkSum(data.subarray(0, VHD_FOOTER_BYTES), 64, fields.checksum);
  if (fields.type !== TYPE_DYNAMIC && fields.type !== TYPE_DIFFERENCING) {
    throw new IntegrityError(`a VHD is of type ${fields.type}, which has no allocation table`);
  }
  return {
    currentSize: bytes(fields.currentSize),
    type: fields.type === TYPE_DYNAMIC ? "dynamic" : "differencing",
    headerOffset: bytes(Number(BigInt.asUintN(53, fields.dataOffset))),
  };
}

/** @throws IntegrityError */
export function parseVhdHeader(data: Uint8Array): VhdHeader {
  const fields = header.decode(viewOf(data), 0);
  if (fields.cookie !== HEADER_COOKIE) throw new IntegrityError("a VHD header does not begin with its cookie");
  checkSum(data.subarray(0, VHD_HEADER_BYTES), 36, fields.checksum);
  const isPower = Number.isInteger(Math.log2(fields.blockBytes));
  if (!isPower || fields.blockBytes < SECTOR_BYTES) {
    throw new IntegrityError(`a VHD has blocks of ${fields.blockBytes} bytes`);
  }
  return { tableOffset: bytes(fields.tableOffset), entries: fields.entries, blockBytes: bytes(fields.blockBytes) };
}

/** Of the part of the table that a disk of `size` bytes needs. @throws IntegrityError when the table has fewer entries */
export function vhdTableBytes({ entries, blockBytes }: VhdHeader, size: Bytes): number {
  const needed = Math.ceil(size / blockBytes);
  if (entries < needed) {
    throw new IntegrityError(`a VHD has a table of ${entries} entries, and its disk needs ${needed}`);
  }
  return needed * ENTRY_BYTES;
}

/** Which blocks are in the file, in the order of the disk: 1 for each that is, else 0. */
export function parseVhdTable(table: Uint8Array): Uint8Array {
  const view = viewOf(table);
  return Uint8Array.from({ length: Math.floor(table.length / ENTRY_BYTES) }, (_, index) =>
    view.getUint32(index * ENTRY_BYTES) === UNUSED ? 0 : 1,
  );
}

/** The one's complement of the sum of all bytes but its own. */
function checkSum(data: Uint8Array, at: number, stored: number): void {
  let sum = 0;
  for (const [index, byte] of data.entries()) if (index < at || index >= at + ENTRY_BYTES) sum += byte;
  if (~sum >>> 0 !== stored) throw new IntegrityError("a VHD has a wrong checksum");
}
