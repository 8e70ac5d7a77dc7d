/** A member of a tar archive, as its 512-byte header tells. */
export interface TarMember {
  readonly name: string;
  readonly sizeBytes: number;
  /** NUL or "0": a regular file; "x", "g": PAX records; "L": a long name of GNU tar; "5": a directory. */
  readonly type: string;
}

export interface NewTarMember {
  readonly name: string;
  readonly sizeBytes: number;
  /** Permission bits: 0 up to XenServer 8.2, 0o400 since xapi 23. */
  readonly mode: number;
  /** Seconds since 1970. */
  readonly mtimeSeconds: number;
}

export const TAR_BLOCK_BYTES = 512;
const NAME_BYTES = 100;
const CHECKSUM = { at: 148, bytes: 8 } as const;
const PREFIX = { at: 345, bytes: 155 } as const;

/** Bytes of the end of an archive as xapi writes it: two blocks of zeros, and no filling up to a record. */
export const TAR_END_BYTES = 2 * TAR_BLOCK_BYTES;

export function padded(sizeBytes: number): number {
  return Math.ceil(sizeBytes / TAR_BLOCK_BYTES) * TAR_BLOCK_BYTES;
}

/**
 * A header as xapi's tar library writes it: the old form of Unix V7 without the magic "ustar", and a checksum of seven octal
 * digits and a NUL, where other programs write six, a NUL and a space.
 */
export function tarHeader({ name, sizeBytes, mode, mtimeSeconds }: NewTarMember): Buffer {
  if (Buffer.byteLength(name) > NAME_BYTES)
    throw new RangeError(`"${name}" is too long for the header of a tar archive`);
  const header = Buffer.alloc(TAR_BLOCK_BYTES);
  header.write(name, 0);
  header.write(octal(mode, 7), 100);
  header.write(octal(0, 7), 108);
  header.write(octal(0, 7), 116);
  header.write(octal(sizeBytes, 11), 124);
  header.write(octal(mtimeSeconds, 11), 136);
  header.write(octal(checksum(header), 7), CHECKSUM.at);
  return header;
}

/**
 * @returns undefined for a block of zeros
 * @throws RangeError when the block is no header
 */
export function parseTarHeader(block: Buffer): TarMember | undefined {
  if (block.every((byte) => byte === 0)) return undefined;
  const stored = parseOctal(block, CHECKSUM.at, CHECKSUM.bytes);
  if (stored !== checksum(block)) throw new RangeError("the checksum of a tar header is wrong");
  const isUstar = block.toString("latin1", 257, 262) === "ustar";
  const prefix = isUstar ? text(block, PREFIX.at, PREFIX.bytes) : "";
  const name = text(block, 0, NAME_BYTES);
  return {
    name: prefix === "" ? name : `${prefix}/${name}`,
    sizeBytes: parseOctal(block, 124, 12),
    type: String.fromCharCode(block.readUInt8(156)),
  };
}

/** The sum of all bytes, its own field counted as spaces. */
function checksum(header: Buffer): number {
  let sum = 0x20 * CHECKSUM.bytes;
  for (const [at, byte] of header.entries()) {
    if (at < CHECKSUM.at || at >= CHECKSUM.at + CHECKSUM.bytes) sum += byte;
  }
  return sum;
}

function octal(value: number, digits: number): string {
  return value.toString(8).padStart(digits, "0");
}

function parseOctal(block: Buffer, at: number, length: number): number {
  const digits = text(block, at, length).trim();
  if (!/^[0-7]*$/.test(digits)) throw new RangeError("a number of a tar header is not octal");
  return digits === "" ? 0 : Number.parseInt(digits, 8);
}

function text(block: Buffer, at: number, length: number): string {
  const field = block.subarray(at, at + length);
  const end = field.indexOf(0);
  return field.toString("utf8", 0, end < 0 ? length : end);
}
