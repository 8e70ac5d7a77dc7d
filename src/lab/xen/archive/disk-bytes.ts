import type { FileHandle } from "node:fs/promises";

/** A disk as exports read it. */
export interface ReadableDisk {
  /** A multiple of 512. */
  readonly sizeBytes: number;
  /** Whole, or it throws. */
  read(at: number, length: number): Promise<Buffer>;
}

/** A disk as imports write it. */
export interface WritableDisk {
  readonly sizeBytes: number;
  write(at: number, data: Uint8Array): Promise<void>;
}

/** A disk in a sparse file of its exact size. */
export class FileDisk implements ReadableDisk, WritableDisk {
  readonly #file: FileHandle;
  readonly sizeBytes: number;

  constructor(file: FileHandle, sizeBytes: number) {
    this.#file = file;
    this.sizeBytes = sizeBytes;
  }

  async read(at: number, length: number): Promise<Buffer> {
    const data = Buffer.allocUnsafe(length);
    let done = 0;
    while (done < length) {
      const { bytesRead } = await this.#file.read(data, done, length - done, at + done);
      if (bytesRead === 0) throw new RangeError(`the image of the disk ends before ${at + length}`);
      done += bytesRead;
    }
    return data;
  }

  /** @throws RangeError beyond the end, as a block device does */
  async write(at: number, data: Uint8Array): Promise<void> {
    if (at + data.length > this.sizeBytes) throw new RangeError(`${at + data.length} is beyond the end of the disk`);
    let done = 0;
    while (done < data.length) {
      const { bytesWritten } = await this.#file.write(data, done, data.length - done, at + done);
      done += bytesWritten;
    }
  }
}

export function isZero(data: Uint8Array): boolean {
  const block = Buffer.from(data.buffer, data.byteOffset, data.byteLength);
  return block.length === 0 || (block[0] === 0 && block.subarray(1).equals(block.subarray(0, -1)));
}
