import { bytes, type Bytes } from "../../units.js";
import { CHUNK_BYTES, type ChunkMap } from "./chunk-map.js";
import { archiveBytes, TAR_BLOCK_BYTES, TAR_END_BYTES } from "./tar-header.js";

export const OVA_NAME = "ova.xml";
/** Behind its data a chunk has a header and a block with the hash. */
const HASH_BYTES = 2 * TAR_BLOCK_BYTES;
const FULL_SLOT_BYTES = TAR_BLOCK_BYTES + CHUNK_BYTES + HASH_BYTES;

export interface LaidOutDisk {
  readonly id: string;
  /** A multiple of TAR_BLOCK_BYTES. */
  readonly size: Bytes;
  readonly chunks: ChunkMap;
}

/** One piece of the archive that a range touches. */
export type Piece =
  | { readonly kind: "ova header" | "ova" | "zeros" }
  | {
      readonly kind: "data header" | "data" | "hash header" | "hash";
      /** Place of the disk in the layout. */
      readonly disk: number;
      readonly chunk: number;
      /** Of the chunk's data. */
      readonly chunkBytes: number;
    };

/** `length` bytes from `from` of a piece. */
export type PieceRange = Piece & { readonly from: number; readonly length: number };

/**
 * Where everything is in the archive: the header of ova.xml and its text, then for each disk its chunks, each with a
 * header before and a hash behind it, then two empty blocks. All chunks of a disk but its last have the same length, so
 * that each place is computed and none is kept.
 */
export class XvaLayout {
  readonly size: Bytes;
  readonly disks: readonly LaidOutDisk[];
  readonly #ovaBytes: number;
  /** Where each disk begins, and where the last one ends. */
  readonly #starts: readonly number[];

  /** @param disks in the order of their ids as text */
  constructor(ovaBytes: number, disks: readonly LaidOutDisk[]) {
    this.disks = disks;
    this.#ovaBytes = ovaBytes;
    const starts = [TAR_BLOCK_BYTES + archiveBytes(ovaBytes)];
    for (const disk of disks) starts.push((starts.at(-1) ?? 0) + diskBytes(disk));
    this.#starts = starts;
    this.size = bytes((starts.at(-1) ?? 0) + TAR_END_BYTES);
  }

  /** `[at, at + length)` in order, without gaps. */
  *pieces(at: number, length: number): Generator<PieceRange, void, undefined> {
    const end = at + length;
    for (let from = at; from < end;) {
      const { piece, start, stop } = this.#pieceAt(from);
      const upTo = Math.min(end, stop);
      yield { ...piece, from: from - start, length: upTo - from };
      from = upTo;
    }
  }

  #pieceAt(at: number): Placed {
    const first = this.#starts[0] ?? 0;
    if (at < TAR_BLOCK_BYTES) return { piece: { kind: "ova header" }, start: 0, stop: TAR_BLOCK_BYTES };
    const ovaEnd = TAR_BLOCK_BYTES + this.#ovaBytes;
    if (at < ovaEnd) return { piece: { kind: "ova" }, start: TAR_BLOCK_BYTES, stop: ovaEnd };
    if (at < first) return { piece: { kind: "zeros" }, start: ovaEnd, stop: first };
    const index = this.#starts.findIndex((_, disk) => at < (this.#starts[disk + 1] ?? 0));
    const disk = this.disks[index];
    if (disk === undefined) return { piece: { kind: "zeros" }, start: this.#starts.at(-1) ?? 0, stop: this.size };
    return inChunk(disk, index, this.#starts[index] ?? 0, at);
  }
}

interface Placed {
  readonly piece: Piece;
  readonly start: number;
  readonly stop: number;
}

function inChunk(disk: LaidOutDisk, index: number, start: number, at: number): Placed {
  const slot = Math.min(Math.floor((at - start) / FULL_SLOT_BYTES), disk.chunks.included - 1);
  const chunk = disk.chunks.at(slot);
  const chunkBytes = chunkLength(disk, chunk);
  const of = { disk: index, chunk, chunkBytes };
  let from = start + slot * FULL_SLOT_BYTES;
  for (const [kind, length] of [
    ["data header", TAR_BLOCK_BYTES],
    ["data", chunkBytes],
    ["hash header", TAR_BLOCK_BYTES],
  ] as const) {
    if (at < from + length) return { piece: { kind, ...of }, start: from, stop: from + length };
    from += length;
  }
  return { piece: { kind: "hash", ...of }, start: from, stop: from + TAR_BLOCK_BYTES };
}

function chunkLength(disk: LaidOutDisk, chunk: number): number {
  return Math.min(CHUNK_BYTES, disk.size - chunk * CHUNK_BYTES);
}

function diskBytes(disk: LaidOutDisk): number {
  const { included, count } = disk.chunks;
  if (included === 0) return 0;
  return (included - 1) * FULL_SLOT_BYTES + TAR_BLOCK_BYTES + chunkLength(disk, count - 1) + HASH_BYTES;
}

/** `Ref:0004/00000012` */
export function chunkName(id: string, chunk: number): string {
  return `${id}/${String(chunk).padStart(8, "0")}`;
}
