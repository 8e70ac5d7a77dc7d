/**
 * Branded numbers: a count of bytes and a count of 512-byte sectors cannot be mixed up, and neither can be negative,
 * fractional or beyond what a number holds exactly (2^53 - 1 bytes = 8 PiB; the largest virtual disk is 62 TiB).
 */
declare const unit: unique symbol;

export type Bytes = number & { readonly [unit]: "bytes" };
export type Sectors = number & { readonly [unit]: "sectors" };

export const SECTOR_BYTES = 512;
export const KIB = 1024;
export const MIB = 1024 * KIB;
export const GIB = 1024 * MIB;

function checked(value: number, what: string): number {
  if (!Number.isSafeInteger(value) || value < 0) {
    throw new RangeError(`Cannot use ${value} as a count of ${what}: it must be an integer from 0 to 2^53 - 1`);
  }
  return value;
}

/** @throws RangeError when `value` is not an integer from 0 to 2^53 - 1 */
export function bytes(value: number): Bytes {
  return checked(value, "bytes") as Bytes;
}

/** @throws RangeError when `value` is not an integer from 0 to 2^53 - 1 */
export function sectors(value: number): Sectors {
  return checked(value, "sectors") as Sectors;
}

/** @throws RangeError when the result does not fit */
export function sectorsToBytes(value: Sectors): Bytes {
  return bytes(value * SECTOR_BYTES);
}

/** Rounds up: a trailing partial sector counts as one. */
export function bytesToSectors(value: Bytes): Sectors {
  return sectors(Math.ceil(value / SECTOR_BYTES));
}

const SIZE_TEXT = /^(\d+(?:\.\d+)?)\s*(B|KiB|MiB|GiB|TiB|K|M|G|T)?$/i;
const SIZE_FACTOR: Record<string, number> = { "": 1, b: 1, k: KIB, m: MIB, g: GIB, t: 1024 * GIB };

/**
 * Reads a size as people write it: `512`, `256MiB`, `1.5 GiB`, `4M` (binary units in every spelling).
 * @throws RangeError when the text is not a size
 */
export function parseBytes(text: string): Bytes {
  const match = SIZE_TEXT.exec(text.trim());
  const factor = SIZE_FACTOR[(match?.[2] ?? "").slice(0, 1).toLowerCase()];
  if (match?.[1] === undefined || factor === undefined) {
    throw new RangeError(
      `Cannot read "${text}" as a size: write a number with B, KiB, MiB, GiB or TiB, such as "256MiB"`,
    );
  }
  return bytes(Math.round(Number(match[1]) * factor));
}

const DURATION_TEXT = /^(\d+(?:\.\d+)?)\s*(ms|s|m|h|d)?$/i;
const DURATION_FACTOR_MS: Record<string, number> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 };

/**
 * Reads a duration as people write it: `30s`, `500ms`, `5m`, `2h`, `7d`; a bare number is seconds.
 * @returns milliseconds
 * @throws RangeError when the text is not a duration
 */
export function parseDurationMs(text: string): number {
  const match = DURATION_TEXT.exec(text.trim());
  const factor = DURATION_FACTOR_MS[(match?.[2] ?? "s").toLowerCase()];
  if (match?.[1] === undefined || factor === undefined) {
    throw new RangeError(`Cannot read "${text}" as a duration: write a number with ms, s, m, h or d, such as "30s"`);
  }
  return checked(Math.round(Number(match[1]) * factor), "milliseconds");
}
