import type { Bytes } from "../units.js";

/** An inode of the tree: stable between runs for the same object, from 1 to 2^53 - 1; the root's is `ROOT_INODE`. */
export type Inode = number;
export const ROOT_INODE: Inode = 1;

/** The longest name of a directory entry, such as every Linux file system has. */
export const NAME_BYTES_MAX = 255;

export interface NodeAttributes {
  readonly inode: Inode;
  readonly kind: "file" | "directory";
  readonly size: Bytes;
  /** What the object occupies: `size` where allocation is unknown, never 0 for a file with bytes (fs/image-tree.ts). */
  readonly allocated: Bytes;
  /** Permission bits only. */
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  readonly links: number;
  /** Milliseconds since 1970: mtime, ctime and atime alike. */
  readonly timeMs: number;
}

export interface DirectoryEntry {
  readonly name: string;
  readonly attributes: NodeAttributes;
}

export interface OpenFile {
  /** Fills all of `into` from `at`, or throws: the driver has clamped the range to the file's size. */
  read(into: Uint8Array, at: Bytes, options: { readonly signal: AbortSignal }): Promise<void>;

  /**
   * Where data or a hole next begins at or after `at` (`at` is below the size), from memory, never from the network:
   * "data" gives undefined when only a hole is left, "hole" gives the size when no further hole is there.
   */
  seek(at: Bytes, whence: "data" | "hole"): Bytes | undefined;

  /** The whole file is this range of a local file. */
  localFile?(): { readonly fd: number; readonly offset: Bytes } | undefined;

  /** Called once, when the last descriptor of this open is closed. */
  release(): void;
}

/** What a FUSE driver serves: read-only, immutable while mounted, all answers but `read` from memory. */
export interface FileSystem {
  attributes(inode: Inode): NodeAttributes | undefined;
  lookup(directory: Inode, name: string): NodeAttributes | undefined;
  /** Without "." and ".."; undefined when `directory` is not one. */
  list(directory: Inode): readonly DirectoryEntry[] | undefined;
  /** @throws VmmountError when `inode` is not a file */
  open(inode: Inode): OpenFile;
  /** Bytes of all files, for statfs. */
  readonly totalBytes: Bytes;
  readonly fileCount: number;
}
