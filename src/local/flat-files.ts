import { basename, dirname, join } from "node:path";
import type { FileHandle } from "node:fs/promises";
import { IntegrityError } from "../errors.js";
import type { VmdkDescriptor } from "../image/vmdk/descriptor.js";
import { bytes, type Bytes, sectorsToBytes } from "../units.js";
import type { LocalRoot, OpenedFile } from "./root.js";

/** A range of a disk and where its bytes are. */
export interface FlatSegment {
  /** Where it begins on the disk. */
  readonly start: Bytes;
  readonly length: Bytes;
  /** Undefined for zeros that no file holds. */
  readonly data: { readonly handle: FileHandle; readonly path: string; readonly offset: Bytes } | undefined;
}

export interface FlatFiles {
  /** In disk order and without gaps. */
  readonly segments: readonly FlatSegment[];
  /** Every file once; the caller closes them. */
  readonly files: readonly OpenedFile[];
}

/**
 * Opens the data files of a flat disk.
 * @param path of its descriptor, absolute
 * @throws IntegrityError naming a file that is too short; NotFoundError, AuthError, RefusedError
 */
export async function openFlatFiles(path: string, descriptor: VmdkDescriptor, root: LocalRoot): Promise<FlatFiles> {
  const files = new Map<string, OpenedFile>();
  const segments: FlatSegment[] = [];
  let start = 0;
  try {
    for (const extent of descriptor.extents) {
      const length = sectorsToBytes(extent.sectors);
      if (extent.name === undefined) {
        segments.push({ start: bytes(start), length, data: undefined });
      } else {
        const file = files.get(extent.name) ?? (await root.openFile(join(dirname(path), extent.name)));
        files.set(extent.name, file);
        const offset = sectorsToBytes(extent.offset);
        if (offset + length > file.stats.size) {
          throw new IntegrityError(
            `Cannot read "${file.path}": it has ${file.stats.size} bytes, ` +
              `and the descriptor "${basename(path)}" says that it has at least ${offset + length}`,
            { hint: "The copy of the VM is not complete, or something cut the file off" },
          );
        }
        segments.push({ start: bytes(start), length, data: { handle: file.handle, path: file.path, offset } });
      }
      start += length;
    }
    return { segments, files: [...files.values()] };
  } catch (error) {
    await closeAll([...files.values()]);
    throw error;
  }
}

export async function closeAll(files: readonly OpenedFile[]): Promise<void> {
  await Promise.all(files.map((file) => file[Symbol.asyncDispose]()));
}
