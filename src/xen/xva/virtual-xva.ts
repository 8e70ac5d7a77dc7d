import type { BlockSource, ReadOptions } from "../../block-source.js";
import { IntegrityError } from "../../errors.js";
import { printable } from "../../printable.js";
import { bytes, type Bytes } from "../../units.js";
import { type Checksum, checksum, type ChecksumKind } from "./checksum.js";
import { ChunkHashes, type ChunkPlace } from "./chunk-hashes.js";
import { CHUNK_BYTES, ChunkMap, type Holes } from "./chunk-map.js";
import { expectedDisks } from "./expected-disks.js";
import { chunkName, OVA_NAME, type PieceRange, XvaLayout } from "./layout.js";
import { parseOva } from "./ova.js";
import { archiveBytes, TAR_BLOCK_BYTES, writeTarHeader } from "./tar-header.js";

export interface XvaDisk {
  /** Of its VDI in ova.xml. */
  readonly id: string;
  readonly source: BlockSource;
  /** Frozen; chunks that are holes are left out. Undefined where nothing is known: then every chunk is in. */
  readonly holes?: Holes | undefined;
}

export interface VirtualXvaInput {
  /** As `formatOva` writes it. */
  readonly ovaXml: Uint8Array;
  readonly disks: readonly XvaDisk[];
  readonly checksum: ChecksumKind;
}

/** With number and ending it is the name of a member, which has 100 bytes. */
const ID = /^[\w:.-]{1,64}$/;

/**
 * An archive that XAPI imports (`/import`), made while it is read from the disks of a VM: its size is known at once, any
 * range can be read in any order, and the bytes depend on nothing but the input. Numbers of chunks are places on the
 * disk, names of members and their headers are computed; only hashes need data.
 *
 * Disposing it leaves the disks to their owner.
 * @throws IntegrityError when ova.xml and the disks do not fit together
 */
export async function virtualXva(input: VirtualXvaInput): Promise<BlockSource> {
  const disks = [...input.disks].sort((a, b) => Buffer.compare(Buffer.from(a.id), Buffer.from(b.id)));
  checkDisks(input.ovaXml, disks);
  // Readers take the length of the very first chunk for that of every missing one.
  const [first] = disks.filter(({ source }) => source.size > 0);
  const isGappy = first !== undefined && first.source.size >= CHUNK_BYTES;
  const layout = new XvaLayout(
    input.ovaXml.length,
    disks.map(({ id, source, holes }) => {
      const size = archiveBytes(source.size);
      return { id, size, chunks: ChunkMap.of(size, isGappy ? holes : undefined) };
    }),
  );
  const kind = await checksum(input.checksum);
  const shared = { layout, ovaXml: input.ovaXml, disks, checksum: kind, hashes: new ChunkHashes(kind) };
  return new VirtualXva(
    shared,
    disks.map(({ source }) => source),
    "archive",
  );
}

function checkDisks(ovaXml: Uint8Array, disks: readonly XvaDisk[]): void {
  const expected = expectedDisks(parseOva(ovaXml));
  const shown = (all: readonly { readonly id: string; readonly size: number }[]): string =>
    all.map(({ id, size }) => `${printable(id)} of ${size} bytes`).join(", ") || "none";
  const given = disks.map(({ id, source }) => ({ id, size: archiveBytes(source.size) }));
  if (shown(expected) !== shown(given)) {
    throw new IntegrityError(
      `Cannot make an archive: ova.xml describes other disks (${shown(expected)}) than are there (${shown(given)})`,
    );
  }
  const odd = disks.find(({ id }) => !ID.test(id));
  if (odd !== undefined) throw new IntegrityError(`Cannot make an archive: "${printable(odd.id)}" is no folder's name`);
}

interface Shared {
  readonly layout: XvaLayout;
  readonly ovaXml: Uint8Array;
  readonly disks: readonly XvaDisk[];
  readonly checksum: Checksum;
  readonly hashes: ChunkHashes;
}

class VirtualXva implements BlockSource {
  readonly size: Bytes;
  readonly reader?: () => BlockSource;
  readonly #shared: Shared;
  readonly #sources: readonly BlockSource[];
  readonly #role: "archive" | "reader";

  constructor(shared: Shared, sources: readonly BlockSource[], role: "archive" | "reader") {
    this.#shared = shared;
    this.#sources = sources;
    this.#role = role;
    this.size = shared.layout.size;
    if (role === "archive" && sources.some((source) => source.reader !== undefined)) {
      this.reader = () =>
        new VirtualXva(
          shared,
          sources.map((source) => source.reader?.() ?? source),
          "reader",
        );
    }
  }

  async read(into: Uint8Array, at: Bytes, { signal }: ReadOptions): Promise<void> {
    signal.throwIfAborted();
    if (!Number.isSafeInteger(at) || at < 0 || at + into.length > this.size) {
      throw new RangeError(`Cannot read ${into.length} bytes at ${at}: the archive has ${this.size} bytes`);
    }
    const reads: Promise<void>[] = [];
    let filled = 0;
    for (const piece of this.#shared.layout.pieces(at, into.length)) {
      const target = into.subarray(filled, filled + piece.length);
      filled += piece.length;
      // In order, so that the data of a chunk are on their way when its hash is asked for.
      reads.push(this.#fill(piece, target, signal));
    }
    const ended = await Promise.allSettled(reads);
    // All have ended before a failure is reported: nothing writes into a buffer that the caller has back.
    const failed = ended.find((one) => one.status === "rejected");
    if (failed !== undefined) throw failed.reason;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#role === "archive") {
      this.#shared.hashes.clear();
      return;
    }
    const readers = this.#sources.filter((source, index) => source !== this.#shared.disks[index]?.source);
    await Promise.all(readers.map((reader) => reader[Symbol.asyncDispose]()));
  }

  async #fill(piece: PieceRange, into: Uint8Array, signal: AbortSignal): Promise<void> {
    const { ovaXml, layout, checksum: kind, hashes } = this.#shared;
    const { from, length } = piece;
    switch (piece.kind) {
      case "zeros":
        into.fill(0);
        return;
      case "ova":
        into.set(ovaXml.subarray(from, from + length));
        return;
      case "ova header":
        into.set(headerOf(OVA_NAME, ovaXml.length).subarray(from, from + length));
        return;
      case "data":
        await hashes.passing(piece, from, into, () => this.#readDisk(piece, from, into, signal));
        return;
      case "data header":
      case "hash header": {
        const name = chunkName(layout.disks[piece.disk]?.id ?? "", piece.chunk);
        const isData = piece.kind === "data header";
        const header = isData ? headerOf(name, piece.chunkBytes) : headerOf(`${name}${kind.extension}`, kind.length);
        into.set(header.subarray(from, from + length));
        return;
      }
      case "hash": {
        const block = Buffer.alloc(TAR_BLOCK_BYTES);
        block.write(await this.#hash(piece, signal), 0, "latin1");
        into.set(block.subarray(from, from + length));
      }
    }
  }

  async #hash(piece: ChunkPlace, signal: AbortSignal): Promise<string> {
    const { hashes, disks } = this.#shared;
    const start = piece.chunk * CHUNK_BYTES;
    const data = disks[piece.disk]?.holes?.seek(bytes(start), "data");
    const isHole = disks[piece.disk]?.holes !== undefined && (data === undefined || data >= start + piece.chunkBytes);
    if (isHole && piece.chunkBytes === CHUNK_BYTES) return await hashes.ofZeros();
    return await hashes.of(piece, (into) => this.#readDisk(piece, 0, into, signal), signal);
  }

  /** @param from in the chunk */
  async #readDisk(
    { disk, chunk }: { readonly disk: number; readonly chunk: number },
    from: number,
    into: Uint8Array,
    signal: AbortSignal,
  ): Promise<void> {
    const source = this.#sources[disk];
    if (source === undefined) throw new RangeError(`There is no disk ${disk}`);
    const at = chunk * CHUNK_BYTES + from;
    // What rounds a disk up to whole blocks is in no image.
    const there = Math.max(0, Math.min(into.length, source.size - at));
    into.fill(0, there);
    if (there > 0) await source.read(into.subarray(0, there), bytes(at), { signal });
  }
}

function headerOf(name: string, size: number): Uint8Array {
  const header = new Uint8Array(TAR_BLOCK_BYTES);
  writeTarHeader(header, name, size);
  return header;
}
