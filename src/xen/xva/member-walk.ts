import type { BlockSource } from "../../block-source.js";
import { IntegrityError } from "../../errors.js";
import { printable } from "../../printable.js";
import { bytes, type Bytes } from "../../units.js";
import { checksumOf } from "./checksum.js";
import { archiveBytes, readTarHeader, TAR_BLOCK_BYTES, type TarHeader } from "./tar-header.js";

/** One chunk as it lies in an archive. */
export interface StoredChunk {
  /** Its number, from the name; not its place on the disk. */
  readonly number: number;
  /** Where its data are in the archive. */
  readonly at: Bytes;
  readonly length: number;
}

/** XAPI takes less than 2^30; every writer makes chunks of 1 MiB. */
const CHUNK_BYTES_MAX = 2 ** 30 - 1;
export const HASH_CHARS_MAX = 64;
/** The header and the text of a hash, and the header that follows: what lies between two chunks' data. */
const BETWEEN_BYTES = 3 * TAR_BLOCK_BYTES;

/** Steps through the members of a plain archive, reading no data. */
export class MemberWalk {
  readonly #archive: BlockSource;
  readonly #signal: AbortSignal;
  /** What was read ahead, and where it begins. */
  #ahead = { at: 0, data: new Uint8Array(0) };
  #at = 0;

  constructor(archive: BlockSource, signal: AbortSignal) {
    this.#archive = archive;
    this.#signal = signal;
  }

  /** The next member's header; the walk then stands at its data. @returns undefined at the end */
  async header(): Promise<TarHeader | undefined> {
    // One empty block alone is passed over, two end the archive; some writers leave both out.
    for (let empty = 0; empty < 2; empty++) {
      if (this.#at === this.#archive.size) return undefined;
      const header = readTarHeader(await this.#block());
      if (header !== undefined) return header;
    }
    return undefined;
  }

  /** The whole data of a small member; the walk then stands behind it. */
  async data(size: number): Promise<Uint8Array> {
    const content = new Uint8Array(size);
    this.#checkRoom(archiveBytes(size));
    await this.#archive.read(content, bytes(this.#at), { signal: this.#signal });
    this.#at += archiveBytes(size);
    return content;
  }

  /** The rest of a chunk: passes over its data and takes its hash. */
  async chunk({ name, size }: TarHeader): Promise<StoredChunk> {
    const shown = printable(name);
    if (size > CHUNK_BYTES_MAX) throw new IntegrityError(`"${shown}" has ${size} bytes, more than a chunk may have`);
    const at = bytes(this.#at);
    this.#checkRoom(archiveBytes(size));
    this.#at += archiveBytes(size);
    const header = await this.header();
    const kind = header === undefined ? undefined : checksumOf(header.name);
    if (header === undefined || kind === undefined || header.name.slice(0, header.name.lastIndexOf(".")) !== name) {
      throw new IntegrityError(`the hash of "${shown}" does not follow it`);
    }
    if (header.size > HASH_CHARS_MAX) throw new IntegrityError(`the hash of "${shown}" has ${header.size} bytes`);
    await this.#block();
    return { number: chunkNumber(name), at, length: size };
  }

  async #block(): Promise<Uint8Array> {
    this.#checkRoom(TAR_BLOCK_BYTES);
    const { at, data } = this.#ahead;
    if (this.#at < at || this.#at + TAR_BLOCK_BYTES > at + data.length) {
      const length = Math.min(BETWEEN_BYTES, this.#archive.size - this.#at);
      const content = new Uint8Array(length);
      await this.#archive.read(content, bytes(this.#at), { signal: this.#signal });
      this.#ahead = { at: this.#at, data: content };
    }
    const start = this.#at - this.#ahead.at;
    this.#at += TAR_BLOCK_BYTES;
    return this.#ahead.data.subarray(start, start + TAR_BLOCK_BYTES);
  }

  #checkRoom(length: number): void {
    if (this.#at + length <= this.#archive.size) return;
    throw new IntegrityError(`it is cut off: ${this.#archive.size} bytes are there, and more follow`);
  }
}

function chunkNumber(name: string): number {
  const digits = name.slice(name.lastIndexOf("/") + 1);
  if (!/^\d{1,15}$/.test(digits)) throw new IntegrityError(`"${printable(name)}" has no number`);
  return Number(digits);
}
