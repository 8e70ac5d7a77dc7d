import { open, type FileHandle } from "node:fs/promises";
import { IntegrityError } from "../../errors.js";
import { sectorsToBytes } from "../../units.js";
import type { VmdkDescriptor } from "../../image/vmdk/descriptor.js";
import type { Range } from "../ranges.js";
import { allocatedRanges } from "./allocation.js";
import type { DiskLink, LinkFiles } from "./link.js";

/** A base disk: the bytes of the guest one to one in a flat file. */
export class FlatLink implements DiskLink {
  readonly kind = "flat";
  readonly files: LinkFiles;
  readonly #file: FileHandle;
  readonly #size: number;

  private constructor(files: LinkFiles, file: FileHandle, size: number) {
    this.files = files;
    this.#file = file;
    this.#size = size;
  }

  /** @throws IntegrityError when the flat file is shorter than its descriptor says */
  static async open(files: LinkFiles, descriptor: VmdkDescriptor, extentPath: string): Promise<FlatLink> {
    const size = descriptor.extents.reduce((sum, extent) => sum + sectorsToBytes(extent.sectors), 0);
    const file = await open(extentPath, "r+");
    const stat = await file.stat();
    if (stat.size < size) {
      await file.close();
      throw new IntegrityError(`Cannot use ${extentPath}: it has ${stat.size} bytes and its descriptor says ${size}`);
    }
    return new FlatLink(files, file, size);
  }

  async overlay(into: Uint8Array, at: number): Promise<void> {
    for (let done = 0; done < into.length;) {
      const { bytesRead } = await this.#file.read(into, done, into.length - done, at + done);
      if (bytesRead === 0) throw new IntegrityError(`Cannot read ${this.files.descriptor}: it ends at ${at + done}`);
      done += bytesRead;
    }
  }

  async write(bytes: Uint8Array, at: number): Promise<void> {
    for (let done = 0; done < bytes.length;) {
      const { bytesWritten } = await this.#file.write(bytes, done, bytes.length - done, at + done);
      done += bytesWritten;
    }
  }

  async allocated(): Promise<Range[]> {
    const path = this.files.extent;
    const ranges = path === undefined ? undefined : await allocatedRanges(path, this.#file);
    return ranges ?? [{ start: 0, length: this.#size }];
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#file.close();
  }
}
