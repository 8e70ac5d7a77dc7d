import { randomBytes } from "node:crypto";
import { MIB, SECTOR_BYTES } from "../../../units.js";

/** Bytes of the disk behind one entry of the block allocation table. */
export const VHD_BLOCK_BYTES = 2 * MIB;
/** 2040 GiB: xapi makes no larger VHD. */
export const VHD_BYTES_MAX = 2040 * 1024 * MIB;
/** Where the table begins: behind the copy of the footer (512), the header (1024) and the sector of the parent locator. */
export const VHD_TABLE_AT = 2048;

const FOOTER_BYTES = SECTOR_BYTES;
const HEADER_BYTES = 1024;
const LOCATOR_AT = FOOTER_BYTES + HEADER_BYTES;
const FIXED_VERSION = 0x00010000;
const CHECKSUM_OF_FOOTER_AT = 64;
const CHECKSUM_OF_HEADER_AT = 36;
const PARENT_NAME = { at: 64, bytes: 512 } as const;
const FIRST_LOCATOR_AT = 576;

export interface VhdParent {
  readonly uuid: Buffer;
  /** Path of the parent's file on the host. */
  readonly path: string;
}

/**
 * The 512 bytes at both ends of a VHD, as xapi writes them: creator "caml", version 1, no operating system, the time of 2000, a new
 * UUID each time (Microsoft, "Virtual Hard Disk Image Format Specification", section "Hard Disk Footer Format").
 * @param sizeBytes of the disk, whole blocks
 */
export function vhdFooter(sizeBytes: number, parent: VhdParent | undefined): Buffer {
  const footer = Buffer.alloc(FOOTER_BYTES);
  footer.write("conectix", 0, "latin1");
  footer.writeUInt32BE(2, 8);
  footer.writeUInt32BE(FIXED_VERSION, 12);
  footer.writeBigUInt64BE(BigInt(FOOTER_BYTES), 16);
  footer.write("caml", 28, "latin1");
  footer.writeUInt32BE(1, 32);
  footer.writeBigUInt64BE(BigInt(sizeBytes), 40);
  footer.writeBigUInt64BE(BigInt(sizeBytes), 48);
  const { cylinders, heads, sectorsPerTrack } = geometry(sizeBytes / SECTOR_BYTES);
  footer.writeUInt16BE(cylinders, 56);
  footer.writeUInt8(heads, 58);
  footer.writeUInt8(sectorsPerTrack, 59);
  footer.writeUInt32BE(parent === undefined ? 3 : 4, 60);
  randomBytes(16).copy(footer, 68);
  footer.writeUInt32BE(checksum(footer), CHECKSUM_OF_FOOTER_AT);
  return footer;
}

/** Dynamic disk header (the same document, "Dynamic Disk Header Format"). */
export function vhdHeader(blocks: number, parent: VhdParent | undefined): Buffer {
  const header = Buffer.alloc(HEADER_BYTES);
  header.write("cxsparse", 0, "latin1");
  header.fill(0xff, 8, 16);
  header.writeBigUInt64BE(BigInt(VHD_TABLE_AT), 16);
  header.writeUInt32BE(FIXED_VERSION, 24);
  header.writeUInt32BE(blocks, 28);
  header.writeUInt32BE(VHD_BLOCK_BYTES, 32);
  if (parent !== undefined) writeParent(header, parent);
  header.writeUInt32BE(checksum(header), CHECKSUM_OF_HEADER_AT);
  return header;
}

/** The locator names a sector that the stream leaves zero: the parent cannot be found elsewhere than on its host. */
function writeParent(header: Buffer, { uuid, path }: VhdParent): void {
  uuid.copy(header, 40);
  const name = Buffer.from(path, "utf16le").swap16().subarray(0, PARENT_NAME.bytes);
  name.copy(header, PARENT_NAME.at);
  header.write("MacX", FIRST_LOCATOR_AT, "latin1");
  header.writeUInt32BE(1, FIRST_LOCATOR_AT + 4);
  header.writeUInt32BE(Buffer.byteLength(`file://${path}`), FIRST_LOCATOR_AT + 8);
  header.writeBigUInt64BE(BigInt(LOCATOR_AT), FIRST_LOCATOR_AT + 16);
}

/** One's complement of the sum of all bytes; the field itself still holds zeros. */
export function checksum(bytes: Buffer): number {
  let sum = 0;
  for (const byte of bytes) sum += byte;
  return ~sum >>> 0;
}

interface Geometry {
  readonly cylinders: number;
  readonly heads: number;
  readonly sectorsPerTrack: number;
}

/** "CHS Calculation" of the same document. */
function geometry(diskSectors: number): Geometry {
  const total = Math.min(diskSectors, 65535 * 16 * 255);
  if (total >= 65535 * 16 * 63) return shape(total, 16, 255);
  const heads = Math.max(4, Math.ceil(Math.floor(total / 17) / 1024));
  if (heads <= 16 && Math.floor(total / 17) < heads * 1024) return shape(total, heads, 17);
  if (Math.floor(total / 31) < 16 * 1024) return shape(total, 16, 31);
  return shape(total, 16, 63);
}

function shape(total: number, heads: number, sectorsPerTrack: number): Geometry {
  return { cylinders: Math.floor(Math.floor(total / sectorsPerTrack) / heads), heads, sectorsPerTrack };
}
