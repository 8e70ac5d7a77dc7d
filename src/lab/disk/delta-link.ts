import { open, type FileHandle } from "node:fs/promises";
import { IntegrityError } from "../../errors.js";
import {
  COWD_HEADER_BYTES,
  COWD_TABLE_BYTES,
  COWD_TABLE_ENTRIES,
  COWD_TABLE_SECTORS,
  cowdDirectoryBytes,
  cowdPosition,
  decodeCowdDirectory,
  decodeCowdHeader,
  decodeCowdTable,
  emptyCowd,
  encodeCowdEntries,
  encodeCowdHeader,
  type CowdLayout,
} from "../../image/vmdk/cowd.js";
import { SECTOR_BYTES, sectors, sectorsToBytes, type Sectors } from "../../units.js";
import { mergeRanges, type Range } from "../ranges.js";
import type { DiskLink, LinkFiles } from "./link.js";

/** Consecutive disk sectors that lie consecutively in the file; `source` 0 = the delta does not hold them. */
interface Run {
  readonly sector: number;
  readonly count: number;
  readonly source: number;
}

/** A snapshot's delta in the COWD layout: holds the sectors written since, and only those. */
export class DeltaLink implements DiskLink {
  readonly kind = "delta";
  readonly files: LinkFiles;
  readonly #file: FileHandle;
  readonly #layout: CowdLayout;
  readonly #directory: Uint32Array;
  readonly #tables: Map<number, Uint32Array>;
  #free: Sectors;

  private constructor(
    files: LinkFiles,
    file: FileHandle,
    layout: CowdLayout,
    directory: Uint32Array,
    tables: Map<number, Uint32Array>,
  ) {
    this.files = files;
    this.#file = file;
    this.#layout = layout;
    this.#directory = directory;
    this.#tables = tables;
    this.#free = layout.free;
  }

  /** Makes an empty delta file; fails when one is there. */
  static async create(path: string, capacity: Sectors): Promise<void> {
    const layout = emptyCowd(capacity);
    await using file = await open(path, "wx", 0o600);
    await file.write(encodeCowdHeader(layout), 0, COWD_HEADER_BYTES, 0);
    await file.truncate(sectorsToBytes(layout.free));
    await file.sync();
  }

  /** @throws IntegrityError when the file is no sound COWD delta */
  static async open(files: LinkFiles, extentPath: string): Promise<DeltaLink> {
    const file = await open(extentPath, "r+");
    try {
      const layout = decodeCowdHeader(await readExactly(file, COWD_HEADER_BYTES, 0));
      const at = sectorsToBytes(layout.directory);
      const directory = decodeCowdDirectory(await readExactly(file, cowdDirectoryBytes(layout), at), layout);
      const tables = new Map<number, Uint32Array>();
      for (const [index, sector] of directory.entries()) {
        if (sector === 0) continue;
        const bytes = await readExactly(file, COWD_TABLE_BYTES, sectorsToBytes(sectors(sector)));
        tables.set(index, decodeCowdTable(bytes, layout));
      }
      return new DeltaLink(files, file, layout, directory, tables);
    } catch (error) {
      await file.close();
      throw error;
    }
  }

  async overlay(into: Uint8Array, at: number): Promise<void> {
    for (const run of this.#runs(at / SECTOR_BYTES, into.length / SECTOR_BYTES)) {
      if (run.source === 0) continue;
      const from = run.sector * SECTOR_BYTES - at;
      const bytes = await readExactly(this.#file, run.count * SECTOR_BYTES, run.source * SECTOR_BYTES);
      into.set(bytes, from);
    }
  }

  /** Data first, then the table that makes it visible: a reader of the file never sees a grain without its bytes. */
  async write(bytes: Uint8Array, at: number): Promise<void> {
    if (this.#layout.grain !== 1) throw new IntegrityError("Cannot write a COWD delta with grains above one sector");
    const first = at / SECTOR_BYTES;
    const count = bytes.length / SECTOR_BYTES;
    const touched = new Set<number>();
    const tablesBefore = this.#tables.size;
    for (let sector = first; sector < first + count; sector++) {
      const { table, entry } = cowdPosition(this.#layout, sectors(sector));
      const entries = this.#tables.get(table) ?? this.#addTable(table);
      if (entries[entry] !== 0) continue;
      entries[entry] = this.#allocate(1);
      touched.add(table);
    }
    for (const run of this.#runs(first, count)) {
      const from = run.sector * SECTOR_BYTES - at;
      await this.#file.write(bytes, from, run.count * SECTOR_BYTES, run.source * SECTOR_BYTES);
    }
    for (const table of touched) await this.#saveTable(table);
    if (this.#tables.size > tablesBefore) await this.#saveDirectory();
    if (touched.size > 0)
      await this.#file.write(encodeCowdHeader({ ...this.#layout, free: this.#free }), 0, undefined, 0);
  }

  allocated(): Promise<Range[]> {
    const ranges: Range[] = [];
    for (const table of [...this.#tables.keys()].sort((a, b) => a - b)) {
      const first = table * COWD_TABLE_ENTRIES * this.#layout.grain;
      const count = Math.min(COWD_TABLE_ENTRIES * this.#layout.grain, this.#layout.capacity - first);
      for (const run of this.#runs(first, count)) {
        if (run.source > 0) ranges.push({ start: run.sector * SECTOR_BYTES, length: run.count * SECTOR_BYTES });
      }
    }
    return Promise.resolve(mergeRanges(ranges));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#file.close();
  }

  #addTable(table: number): Uint32Array {
    const entries = new Uint32Array(COWD_TABLE_ENTRIES);
    this.#tables.set(table, entries);
    this.#directory[table] = this.#allocate(COWD_TABLE_SECTORS);
    return entries;
  }

  #allocate(count: number): number {
    const at = this.#free;
    this.#free = sectors(at + count);
    return at;
  }

  async #saveTable(table: number): Promise<void> {
    const entries = this.#tables.get(table);
    const at = this.#directory[table];
    if (entries === undefined || at === undefined) return;
    await this.#file.write(encodeCowdEntries(entries), 0, COWD_TABLE_BYTES, at * SECTOR_BYTES);
  }

  async #saveDirectory(): Promise<void> {
    const bytes = encodeCowdEntries(this.#directory);
    await this.#file.write(bytes, 0, bytes.length, sectorsToBytes(this.#layout.directory));
  }

  *#runs(first: number, count: number): Generator<Run> {
    let run: { sector: number; count: number; source: number } | undefined;
    for (let sector = first; sector < first + count;) {
      const step = this.#lookUp(sector, first + count - sector);
      const follows = run !== undefined && step.source === (run.source === 0 ? 0 : run.source + run.count);
      if (run !== undefined && follows) run.count += step.count;
      else {
        if (run !== undefined) yield run;
        run = { sector, ...step };
      }
      sector += step.count;
    }
    if (run !== undefined) yield run;
  }

  /** Where a sector lies in the file; what a missing table covers is answered at once, up to `max` sectors. */
  #lookUp(sector: number, max: number): { readonly source: number; readonly count: number } {
    const { grain } = this.#layout;
    const { table, entry } = cowdPosition(this.#layout, sectors(sector));
    const entries = this.#tables.get(table);
    if (entries === undefined) {
      return { source: 0, count: Math.min(max, (table + 1) * COWD_TABLE_ENTRIES * grain - sector) };
    }
    const at = entries[entry] ?? 0;
    return { source: at === 0 ? 0 : at + (sector % grain), count: 1 };
  }
}

async function readExactly(file: FileHandle, length: number, at: number): Promise<Uint8Array> {
  const bytes = new Uint8Array(length);
  const { bytesRead } = await file.read(bytes, 0, length, at);
  if (bytesRead !== length) throw new IntegrityError(`Cannot read COWD delta: it ends at ${at + bytesRead}`);
  return bytes;
}
