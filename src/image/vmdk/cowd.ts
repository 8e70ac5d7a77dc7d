import { encoded, padding, raw, struct, u32, viewOf, type ValueOf } from "../../binary.js";
import { IntegrityError } from "../../errors.js";
import { SECTOR_BYTES, sectors, sectorsToBytes, type Bytes, type Sectors } from "../../units.js";

/**
 * The VMFS sparse layout ("COWD"), in which an ESXi host writes a snapshot's delta below 2 TiB: header, grain directory,
 * then grain tables and grains in the order of their first write. Nothing here does I/O.
 *
 * Source: VMware "Virtual Disk Format 5.0", COWDisk_Header; checked against qemu-img in both directions.
 */
export const COWD_HEADER_BYTES = 2048;

const header = struct(
  {
    magicNumber: u32,
    version: u32,
    flags: u32,
    numSectors: u32,
    grainSize: u32,
    gdOffset: u32,
    numGDEntries: u32,
    freeSector: u32,
    /** Geometry of a root disk, or name and generation of the parent: recent hosts leave it to the descriptor. */
    union: padding(1028),
    generation: u32,
    name: raw(60),
    description: raw(512),
    savedGeneration: u32,
    reserved: padding(8),
    uncleanShutdown: u32,
    padding: padding(396),
  },
  COWD_HEADER_BYTES,
  "COWDisk_Header",
);

type RawHeader = ValueOf<typeof header>;

/** "COWD" as a little-endian number. */
const MAGIC = 0x44574f43;
const VERSION = 1;
/** What every host writes: valid newline-free header (bit 0) that a check tool may repair (bit 1). */
const FLAGS = 3;
/** Entries of one grain table. */
export const COWD_TABLE_ENTRIES = 4096;
export const COWD_TABLE_BYTES = COWD_TABLE_ENTRIES * 4;
const TABLE_SECTORS = COWD_TABLE_BYTES / SECTOR_BYTES;
/** The format's own limit; hosts write 1, and a table then covers 2 MiB. */
const GRAIN_SECTORS_MAX = 2048;
const HEADER_SECTORS = COWD_HEADER_BYTES / SECTOR_BYTES;

export interface CowdLayout {
  readonly capacity: Sectors;
  /** Sectors per grain. */
  readonly grain: number;
  /** First sector of the grain directory. */
  readonly directory: Sectors;
  /** Entries of the directory: one per grain table. */
  readonly tables: number;
  /** The next sector that nothing uses. */
  readonly free: Sectors;
}

function tableCount(capacity: number, grain: number): number {
  return Math.ceil(capacity / (COWD_TABLE_ENTRIES * grain));
}

/** Bytes that the grain directory takes, in whole sectors. */
export function cowdDirectoryBytes(layout: CowdLayout): Bytes {
  return sectorsToBytes(sectors(Math.ceil((layout.tables * 4) / SECTOR_BYTES)));
}

/**
 * An empty delta of one-sector grains.
 * @throws RangeError when `capacity` does not fit the format's 32-bit fields
 */
export function emptyCowd(capacity: Sectors): CowdLayout {
  if (capacity === 0 || capacity > 0xffffffff) {
    throw new RangeError(`Cannot describe ${capacity} sectors as a COWD delta: the format takes 1 to 2^32 - 1`);
  }
  const tables = tableCount(capacity, 1);
  const directory = sectors(HEADER_SECTORS);
  const free = sectors(HEADER_SECTORS + Math.ceil((tables * 4) / SECTOR_BYTES));
  return { capacity, grain: 1, directory, tables, free };
}

export function encodeCowdHeader(layout: CowdLayout): Uint8Array {
  const value: RawHeader = {
    magicNumber: MAGIC,
    version: VERSION,
    flags: FLAGS,
    numSectors: layout.capacity,
    grainSize: layout.grain,
    gdOffset: layout.directory,
    numGDEntries: layout.tables,
    freeSector: layout.free,
    generation: 0,
    name: new Uint8Array(60),
    description: new Uint8Array(512),
    savedGeneration: 0,
    uncleanShutdown: 0,
  };
  return encoded(header, value);
}

/**
 * Reads and checks a header from the first 2048 bytes of a file.
 * @throws IntegrityError when it is no COWD header or its fields contradict each other
 */
export function decodeCowdHeader(data: Uint8Array): CowdLayout {
  const value = header.decode(viewOf(data), 0);
  const refuse = (reason: string): IntegrityError => new IntegrityError(`Cannot use COWD delta: ${reason}`);
  if (value.magicNumber !== MAGIC) throw refuse("it does not begin with COWD");
  if (value.version !== VERSION) throw refuse(`its version is ${value.version}, not ${VERSION}`);
  if (value.numSectors === 0) throw refuse("its capacity is 0");
  const grain = value.grainSize;
  if (grain === 0 || grain > GRAIN_SECTORS_MAX || (grain & (grain - 1)) !== 0) {
    throw refuse(`its grain of ${grain} sectors is no power of two from 1 to ${GRAIN_SECTORS_MAX}`);
  }
  const tables = tableCount(value.numSectors, grain);
  if (value.numGDEntries !== tables) {
    throw refuse(`its grain directory has ${value.numGDEntries} entries and its capacity needs ${tables}`);
  }
  if (value.gdOffset < HEADER_SECTORS) throw refuse("its grain directory lies inside the header");
  return {
    capacity: sectors(value.numSectors),
    grain,
    directory: sectors(value.gdOffset),
    tables,
    free: sectors(value.freeSector),
  };
}

/**
 * Reads the grain directory: the sector of each grain table, 0 = absent.
 * @throws IntegrityError for a table inside the header or the directory itself
 */
export function decodeCowdDirectory(data: Uint8Array, layout: CowdLayout): Uint32Array {
  const entries = decodeEntries(data, layout.tables);
  const first = layout.directory + cowdDirectoryBytes(layout) / SECTOR_BYTES;
  checkEntries(entries, first, "grain table");
  return entries;
}

/**
 * Reads a grain table: the sector of each grain, 0 = not in this delta.
 * @throws IntegrityError for a grain inside the header or the directory
 */
export function decodeCowdTable(data: Uint8Array, layout: CowdLayout): Uint32Array {
  const entries = decodeEntries(data, COWD_TABLE_ENTRIES);
  const first = layout.directory + cowdDirectoryBytes(layout) / SECTOR_BYTES;
  checkEntries(entries, first, "grain");
  return entries;
}

function decodeEntries(data: Uint8Array, count: number): Uint32Array {
  if (data.length < count * 4) {
    throw new IntegrityError(`Cannot use COWD delta: ${count} entries need ${count * 4} bytes, not ${data.length}`);
  }
  const view = viewOf(data);
  return Uint32Array.from({ length: count }, (_, index) => view.getUint32(index * 4, true));
}

function checkEntries(entries: Uint32Array, first: number, what: string): void {
  const bad = entries.find((entry) => entry !== 0 && entry < first);
  if (bad !== undefined) {
    throw new IntegrityError(`Cannot use COWD delta: a ${what} at sector ${bad} lies inside its metadata`);
  }
}

/** Directory or table entries as they stand in the file, padded to whole sectors. */
export function encodeCowdEntries(entries: Uint32Array): Uint8Array {
  const data = new Uint8Array(Math.ceil((entries.length * 4) / SECTOR_BYTES) * SECTOR_BYTES);
  const view = viewOf(data);
  entries.forEach((entry, index) => {
    view.setUint32(index * 4, entry, true);
  });
  return data;
}

/** Where in the tables a disk sector is looked up. */
export function cowdPosition(layout: CowdLayout, sector: Sectors): { readonly table: number; readonly entry: number } {
  const grain = Math.floor(sector / layout.grain);
  return { table: Math.floor(grain / COWD_TABLE_ENTRIES), entry: grain % COWD_TABLE_ENTRIES };
}

/** Sectors that a new grain table takes. */
export const COWD_TABLE_SECTORS = TABLE_SECTORS;
