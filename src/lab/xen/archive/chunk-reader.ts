import type { ByteReader } from "./byte-reader.js";
import { type HashKind, HASH_KINDS } from "./chunk-hash.js";
import type { WritableDisk } from "./disk-bytes.js";
import { importError, streamFailure } from "./import-failure.js";
import { padded, type TarMember } from "./tar-header.js";
import type { TarReader } from "./tar-reader.js";

/** Chunks must be smaller, whatever the archive says. */
const CHUNK_BYTES_MAX = 2 ** 30;

export interface ChunkReading {
  readonly bytes: ByteReader;
  readonly tar: TarReader;
  /** How the version of the host computes them; a kind that is missing here is one it does not know. */
  readonly hashes: Readonly<Partial<Record<HashKind, (data: Uint8Array) => string>>>;
  /** Hosts from 8.1 on read the header of the hash where the data ends, and not after its padding. */
  readonly readsHashBeforePadding: boolean;
  /** Whether chunks with a wrong hash are taken. */
  readonly isForced: boolean;
}

interface NewDisk {
  /** The id of the disk in the archive. */
  readonly directory: string;
  /** As ova.xml tells it; the disk may be larger. */
  readonly virtualBytes: number;
  readonly disk: WritableDisk;
  /** Whether zeros are written where the archive leaves chunks out: on storage that hands out old bytes. */
  readonly writesZeros: boolean;
}

/** Reads the disks of one archive, as strictly as xapi does and in its order of checks. */
export class ChunkReader {
  readonly #reading: ChunkReading;
  /** Of the first chunk of the whole archive: the size of every chunk that is left out, in all disks. */
  #firstChunkBytes: number | undefined;

  constructor(reading: ChunkReading) {
    this.#reading = reading;
  }

  /**
   * The chunks of one disk, which come one after the other; nothing behind its last chunk is read.
   * @throws XapiFault, EndOfStream, RangeError from the disk or for a damaged header
   */
  async read({ directory, virtualBytes, disk, writesZeros }: NewDisk): Promise<void> {
    let lastSuffix = "-1";
    let at = 0;
    while (at < virtualBytes) {
      const member = await this.#member();
      if (member.sizeBytes >= CHUNK_BYTES_MAX) throw streamFailure("Invalid XVA file");
      this.#firstChunkBytes ??= member.sizeBytes;
      const suffix = suffixOf(member.name, directory, lastSuffix);
      const gap = (number(suffix) - number(lastSuffix) - 1) * this.#firstChunkBytes;
      if (gap > 0 && writesZeros) await this.#writeZeros(disk, at, gap);
      const data = await this.#reading.bytes.take(member.sizeBytes);
      await disk.write(at + gap, data);
      await this.#verify(member, data);
      at += gap + data.length;
      lastSuffix = suffix;
    }
  }

  async #member(): Promise<TarMember> {
    const member = await this.#reading.tar.next();
    if (member === undefined) throw importError("Tar.Header.End_of_stream");
    return member;
  }

  async #verify(chunk: TarMember, data: Buffer): Promise<void> {
    const { tar, bytes, readsHashBeforePadding, isForced } = this.#reading;
    const padding = padded(chunk.sizeBytes) - chunk.sizeBytes;
    if (!readsHashBeforePadding) await bytes.skip(padding);
    const member = await this.#member();
    const hash = this.#hashOf(member);
    if (readsHashBeforePadding) await bytes.skip(padding);
    const stored = (await tar.data(member)).toString("latin1");
    const name = member.name.replace(/\.[^.]*$/, "");
    if (name !== chunk.name) throw importError("Not_found");
    const computed = hash(data);
    if (stored === computed || isForced) return;
    const text = `Block ${chunk.name} checksum failed: original = ${stored}; recomputed = ${computed}`;
    throw importError(`Stream_vdi.Invalid_checksum("${text}")`);
  }

  #hashOf({ name }: TarMember): (data: Uint8Array) => string {
    const { hashes, readsHashBeforePadding } = this.#reading;
    const kind = HASH_KINDS.find((candidate) => name.endsWith(`.${candidate}`));
    const hash = kind === undefined ? undefined : hashes[kind];
    if (hash !== undefined) return hash;
    const text = readsHashBeforePadding
      ? `Found unsupported checksum file: ${name}`
      : `Expected to find an inline checksum, found file called: ${name}`;
    throw streamFailure(text);
  }

  async #writeZeros(disk: WritableDisk, at: number, length: number): Promise<void> {
    const zeros = Buffer.alloc(this.#firstChunkBytes ?? 0);
    for (let done = 0; done < length; done += zeros.length) await disk.write(at + done, zeros);
  }
}

/**
 * What stands behind the directory and one more character, which is taken for the slash. The order of the numbers is that of
 * their texts.
 */
function suffixOf(name: string, directory: string, lastSuffix: string): string {
  if (!name.startsWith(directory)) throw streamFailure("Invalid XVA file");
  const suffix = name.slice(directory.length + 1);
  if (suffix <= lastSuffix) throw streamFailure("Invalid XVA file");
  return suffix;
}

function number(suffix: string): number {
  if (!/^-?\d+$/.test(suffix)) throw importError('Failure("int_of_string")');
  return Number(suffix);
}
