import type { Extent } from "../../block-source.js";
import { IntegrityError } from "../../errors.js";
import {
  parseVhdFooter,
  parseVhdHeader,
  parseVhdTable,
  VHD_FOOTER_BYTES,
  VHD_HEADER_BYTES,
  vhdTableBytes,
} from "../../image/vhd.js";
import { bytes, type Bytes, MIB } from "../../units.js";

/** The header is right behind the footer's copy; parent locators may be before the table. */
const HEADER_END_MAX = 64 * 1024;
/** 2040 GiB, the largest VHD, has a table of 4 MiB; what else is before the data is small. */
const TABLE_END_MAX = 8 * MIB;

/** Which blocks of a disk may hold data. What it calls a hole is one; what it calls data may be zeros. */
export class VhdMap {
  readonly size: Bytes;
  readonly allocated: Bytes;
  readonly #blockBytes: number;
  /** 1 for each block that is there. */
  readonly #blocks: Uint8Array;

  constructor(size: Bytes, blockBytes: number, blocks: Uint8Array) {
    this.size = size;
    this.#blockBytes = blockBytes;
    this.#blocks = blocks;
    let allocated = 0;
    for (const { kind, length } of this.extents(bytes(0), size)) if (kind === "data") allocated += length;
    this.allocated = bytes(allocated);
  }

  /**
   * Reads the beginning of a dynamic VHD that comes as a stream, and no more of it.
   * @param size of the disk: raw volumes are exported with theirs rounded up
   * @throws IntegrityError
   */
  static async read(stream: AsyncIterable<Uint8Array>, size: Bytes): Promise<VhdMap> {
    const head = new StreamHead(stream);
    try {
      const footer = parseVhdFooter(await head.upTo(VHD_FOOTER_BYTES));
      if (footer.type !== "dynamic") throw new IntegrityError("a VHD holds differences to another disk");
      if (footer.currentSize < size) {
        throw new IntegrityError(`a VHD is of a disk of ${footer.currentSize} bytes, not of ${size}`);
      }
      const headerEnd = footer.headerOffset + VHD_HEADER_BYTES;
      if (headerEnd > HEADER_END_MAX) throw new IntegrityError(`a VHD has its header at ${footer.headerOffset}`);
      const header = parseVhdHeader((await head.upTo(headerEnd)).subarray(footer.headerOffset));
      const tableEnd = header.tableOffset + vhdTableBytes(header, size);
      if (tableEnd > TABLE_END_MAX) throw new IntegrityError(`a VHD has its table at ${header.tableOffset}`);
      const table = (await head.upTo(tableEnd)).subarray(header.tableOffset, tableEnd);
      return new VhdMap(size, header.blockBytes, parseVhdTable(table));
    } finally {
      await head.end();
    }
  }

  /** Of `[from, from + length)`, adjacent ones merged. */
  *extents(from: Bytes, length: Bytes): Generator<Extent, void, undefined> {
    const end = from + length;
    for (let at: number = from; at < end;) {
      const kind = this.#kindAt(at);
      let stop = at;
      do stop = (Math.floor(stop / this.#blockBytes) + 1) * this.#blockBytes;
      while (stop < end && this.#kindAt(stop) === kind);
      const next = Math.min(stop, end);
      yield { kind, start: bytes(at), length: bytes(next - at) };
      at = next;
    }
  }

  #kindAt(at: number): Extent["kind"] {
    return this.#blocks[Math.floor(at / this.#blockBytes)] === 0 ? "hole" : "data";
  }
}

/** The first bytes of a stream, as many as are asked for. */
class StreamHead {
  readonly #chunks: AsyncIterator<Uint8Array>;
  #data = Buffer.alloc(0);

  constructor(stream: AsyncIterable<Uint8Array>) {
    this.#chunks = stream[Symbol.asyncIterator]();
  }

  /** All from the start to `end`, which is small. */
  async upTo(end: number): Promise<Buffer> {
    const parts = [this.#data];
    for (let have = this.#data.length; have < end;) {
      const next = await this.#chunks.next();
      if (next.done === true) throw new IntegrityError(`a VHD ends at ${have}, before its allocation table does`);
      parts.push(Buffer.from(next.value));
      have += next.value.length;
    }
    this.#data = Buffer.concat(parts);
    return this.#data.subarray(0, end);
  }

  async end(): Promise<void> {
    await this.#chunks.return?.();
  }
}
