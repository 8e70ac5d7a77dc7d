import { IntegrityError } from "../../errors.js";
import { printable } from "../../printable.js";
import { bytes, type Bytes } from "../../units.js";

/** Members of a tar archive begin and end at multiples of this. */
export const TAR_BLOCK_BYTES = 512;
/** Two empty blocks. */
export const TAR_END_BYTES = 2 * TAR_BLOCK_BYTES;
const NAME_BYTES_MAX = 100;
/** 11 octal digits. */
const SIZE_MAX = 8 ** 11 - 1;
const SUM_AT = 148;
const SUM_BYTES = 8;

/** Rounded up to whole blocks. */
export function archiveBytes(size: number): Bytes {
  return bytes(Math.ceil(size / TAR_BLOCK_BYTES) * TAR_BLOCK_BYTES);
}

/**
 * Writes the header of a regular file, byte for byte as XAPI up to 8.2 does: old style without the magic of ustar, mode,
 * owner and time 0, a checksum of 7 digits (the tar library of OCaml that it uses, lib/tar.ml).
 * @param into TAR_BLOCK_BYTES
 */
export function writeTarHeader(into: Uint8Array, name: string, size: number): void {
  const header = Buffer.from(into.buffer, into.byteOffset, TAR_BLOCK_BYTES).fill(0);
  if (Buffer.byteLength(name) > NAME_BYTES_MAX || size > SIZE_MAX) {
    throw new RangeError(`Cannot write "${name}" of ${size} bytes into an archive`);
  }
  header.write(name, 0, "utf8");
  header.write("0000000", 100, "latin1");
  header.write("0000000", 108, "latin1");
  header.write("0000000", 116, "latin1");
  header.write(octal(size, 11), 124, "latin1");
  header.write(octal(0, 11), 136, "latin1");
  header.write(octal(checksum(header), 7), SUM_AT, "latin1");
}

export interface TarHeader {
  readonly name: string;
  readonly size: Bytes;
}

/**
 * Reads the header of a regular file, whoever wrote it.
 * @returns undefined for an empty block
 * @throws IntegrityError for anything else
 */
export function readTarHeader(block: Uint8Array): TarHeader | undefined {
  const header = Buffer.from(block.buffer, block.byteOffset, TAR_BLOCK_BYTES);
  if (header.every((byte) => byte === 0)) return undefined;
  const sum = number(header, SUM_AT, SUM_BYTES);
  if (sum !== checksum(header)) throw new IntegrityError("a tar header has a wrong checksum");
  const name = text(header, 0, NAME_BYTES_MAX);
  const type = header[156] ?? 0;
  if (type !== 0 && type !== "0".charCodeAt(0)) {
    throw new IntegrityError(`"${printable(name)}" is no regular file of the archive`);
  }
  return { name, size: bytes(number(header, 124, 12)) };
}

/** Of all bytes, those of the checksum itself counted as blanks. */
function checksum(header: Uint8Array): number {
  let sum = 0;
  for (let at = 0; at < TAR_BLOCK_BYTES; at++) {
    sum += at >= SUM_AT && at < SUM_AT + SUM_BYTES ? 0x20 : (header[at] ?? 0);
  }
  return sum;
}

function octal(value: number, digits: number): string {
  return value.toString(8).padStart(digits, "0");
}

function text(header: Buffer, at: number, length: number): string {
  const end = header.indexOf(0, at);
  return header.toString("utf8", at, end < 0 || end > at + length ? at + length : end);
}

function number(header: Buffer, at: number, length: number): number {
  const digits = text(header, at, length).trim();
  if (!/^[0-7]{1,11}$/.test(digits)) throw new IntegrityError(`a tar header has "${printable(digits)}" for a number`);
  return Number.parseInt(digits, 8);
}
