import type { ServedDisk } from "../nbd/server/served-disk.js";
import { bytes, type Bytes } from "../units.js";
import { Gate } from "./gate.js";

/** A part of a request: whole blocks, or some bytes of one block. */
interface Piece {
  readonly at: number;
  readonly length: number;
  readonly isWhole: boolean;
}

/**
 * Shows a disk of whole sectors as one of bytes: clients may write whatever range they like. What covers a sector in part is put into
 * what the sector holds, and nothing else is written meanwhile: another write to the same sector would be undone.
 */
export class AnyBytesDisk implements ServedDisk {
  readonly name: string;
  readonly size: Bytes;
  readonly blockBytes: ServedDisk["blockBytes"];
  readonly write: NonNullable<ServedDisk["write"]>;
  readonly flush?: () => Promise<void>;
  readonly #disk: ServedDisk;
  readonly #gate = new Gate();

  constructor(disk: ServedDisk & Required<Pick<ServedDisk, "write">>) {
    this.name = disk.name;
    this.size = disk.size;
    this.blockBytes = { ...disk.blockBytes, minimum: 1 };
    this.#disk = disk;
    this.write = (data, at) => this.#write(disk.write, data, at);
    if (disk.flush !== undefined) this.flush = disk.flush;
  }

  async read(into: Uint8Array, at: Bytes): Promise<void> {
    for (const piece of this.#pieces(at, into.length)) {
      const part = into.subarray(piece.at - at, piece.at - at + piece.length);
      if (piece.isWhole) await this.#disk.read(part, bytes(piece.at));
      else part.set(this.#partOf(await this.#blockAround(piece), piece));
    }
  }

  async #write(write: NonNullable<ServedDisk["write"]>, data: Uint8Array, at: number): Promise<void> {
    const pieces = this.#pieces(at, data.length);
    const writeAll = async (): Promise<void> => {
      for (const piece of pieces) {
        const part = data.subarray(piece.at - at, piece.at - at + piece.length);
        if (piece.isWhole) {
          await write(part, bytes(piece.at));
          continue;
        }
        const block = await this.#blockAround(piece);
        this.#partOf(block, piece).set(part);
        await write(block, bytes(this.#blockOf(piece)));
      }
    };
    if (pieces.every(({ isWhole }) => isWhole)) await this.#gate.together(writeAll);
    else await this.#gate.alone(writeAll);
  }

  /** At most three: the end of a block, whole blocks, the beginning of a block. */
  #pieces(at: number, length: number): Piece[] {
    const block = this.#disk.blockBytes.minimum;
    const end = at + length;
    const first = Math.min(end, Math.ceil(at / block) * block);
    const last = Math.max(first, Math.floor(end / block) * block);
    return [
      { at, length: first - at, isWhole: false },
      { at: first, length: last - first, isWhole: true },
      { at: last, length: end - last, isWhole: false },
    ].filter((piece) => piece.length > 0);
  }

  async #blockAround(piece: Piece): Promise<Uint8Array> {
    const block = new Uint8Array(this.#disk.blockBytes.minimum);
    await this.#disk.read(block, bytes(this.#blockOf(piece)));
    return block;
  }

  #blockOf({ at }: Piece): number {
    return at - (at % this.#disk.blockBytes.minimum);
  }

  #partOf(block: Uint8Array, piece: Piece): Uint8Array {
    const from = piece.at - this.#blockOf(piece);
    return block.subarray(from, from + piece.length);
  }
}
