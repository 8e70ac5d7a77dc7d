import { IntegrityError, NotFoundError } from "../errors.js";
import { bytes, type Bytes } from "../units.js";
import {
  type DirectoryEntry,
  type FileSystem,
  type Inode,
  NAME_BYTES_MAX,
  type NodeAttributes,
  type OpenFile,
  ROOT_INODE,
} from "./filesystem.js";
import type { FileContent } from "./image-file.js";
import { assignInodes } from "./inodes.js";

export interface TreeFile {
  readonly kind: "file";
  readonly name: string;
  /** What the file is, the same on every run and in no other file: backup agents know files by inode. */
  readonly identity: string;
  readonly content: FileContent;
  readonly timeMs: number;
}

export interface TreeDirectory {
  readonly kind: "directory";
  readonly name: string;
  readonly identity: string;
  readonly timeMs: number;
  readonly files: readonly TreeFile[];
}

export interface TreeOptions {
  /** Permission bits of files; directories get the search bits that go with the read bits. */
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  /** Time of the root directory. */
  readonly timeMs: number;
}

interface Directory {
  readonly entries: readonly DirectoryEntry[];
  readonly byName: ReadonlyMap<string, NodeAttributes>;
}

/** What a small directory has on ext4. */
const DIRECTORY_BYTES = bytes(4096);
/** Even an empty disk shows a block: tar -S archives nothing of a file that claims to occupy nothing. */
const ALLOCATED_BYTES_MIN = 4096;

/** An immutable file system of files and one level of directories, all in memory but the disks' bytes. */
export class ImageTree implements FileSystem {
  readonly totalBytes: Bytes;
  readonly fileCount: number;
  readonly #attributes = new Map<Inode, NodeAttributes>();
  readonly #contents = new Map<Inode, FileContent>();
  readonly #directories = new Map<Inode, Directory>();

  /** @throws IntegrityError for a name that is unsafe or taken, and for an identity that is taken */
  constructor(entries: readonly (TreeFile | TreeDirectory)[], options: TreeOptions) {
    const all = entries.flatMap((entry) => (entry.kind === "directory" ? [entry, ...entry.files] : [entry]));
    const inodes = assignInodes(all.map((entry) => entry.identity));
    const attributesOf = (entry: TreeFile | TreeDirectory): NodeAttributes => {
      const inode = inodes.get(entry.identity) ?? ROOT_INODE;
      return entry.kind === "file" ? fileAttributes(entry, inode, options) : directoryAttributes(entry, inode, options);
    };
    const addDirectory = (own: NodeAttributes, children: readonly (TreeFile | TreeDirectory)[]): void => {
      const listed = children.map((entry) => ({ name: entry.name, attributes: attributesOf(entry) }));
      this.#attributes.set(own.inode, own);
      this.#directories.set(own.inode, directory(listed));
      children.forEach((entry, i) => {
        const attributes = listed[i]?.attributes;
        if (attributes === undefined) return;
        if (entry.kind === "directory") {
          addDirectory(attributes, entry.files);
        } else {
          this.#attributes.set(attributes.inode, attributes);
          this.#contents.set(attributes.inode, entry.content);
        }
      });
    };
    const subdirectories = entries.filter((entry) => entry.kind === "directory").length;
    const root = directoryAttributes({ timeMs: options.timeMs }, ROOT_INODE, options);
    addDirectory({ ...root, links: root.links + subdirectories }, entries);
    this.fileCount = this.#contents.size;
    this.totalBytes = bytes([...this.#contents.values()].reduce((sum, { size }) => sum + size, 0));
  }

  attributes(inode: Inode): NodeAttributes | undefined {
    return this.#attributes.get(inode);
  }

  lookup(directory: Inode, name: string): NodeAttributes | undefined {
    return this.#directories.get(directory)?.byName.get(name);
  }

  list(directory: Inode): readonly DirectoryEntry[] | undefined {
    return this.#directories.get(directory)?.entries;
  }

  open(inode: Inode): OpenFile {
    const content = this.#contents.get(inode);
    if (content === undefined) throw new NotFoundError(`Cannot open inode ${inode}: it is not a file of this tree`);
    return content.open();
  }
}

function directory(entries: readonly DirectoryEntry[]): Directory {
  const byName = new Map<string, NodeAttributes>();
  for (const { name, attributes } of entries) {
    const reason = byName.has(name) ? "the name is taken" : unsafeName(name);
    if (reason !== undefined) throw new IntegrityError(`Cannot show ${JSON.stringify(name)} in the mount: ${reason}`);
    byName.set(name, attributes);
  }
  return { entries, byName };
}

/** Why `name` cannot be one component of a path. */
function unsafeName(name: string): string | undefined {
  if (name === "" || name === "." || name === "..") return "that is no name of a file";
  if (name.includes("/")) return "it holds a slash";
  // Line breaks and escape sequences would end up in the logs and catalogs of backup products.
  if (/[\u0000-\u001f\u007f]/.test(name)) return "it holds control characters";
  const encoded = Buffer.from(name);
  if (encoded.toString() !== name) return "it is no valid Unicode text";
  if (encoded.length > NAME_BYTES_MAX) return `it has ${encoded.length} bytes and the limit is ${NAME_BYTES_MAX}`;
  return undefined;
}

function fileAttributes(file: TreeFile, inode: Inode, options: TreeOptions): NodeAttributes {
  const { size, allocated = size } = file.content;
  return {
    inode,
    kind: "file",
    size,
    allocated: bytes(Math.max(allocated, Math.min(size, ALLOCATED_BYTES_MIN))),
    mode: options.mode,
    uid: options.uid,
    gid: options.gid,
    links: 1,
    timeMs: file.timeMs,
  };
}

function directoryAttributes(own: { readonly timeMs: number }, inode: Inode, options: TreeOptions): NodeAttributes {
  return {
    inode,
    kind: "directory",
    size: DIRECTORY_BYTES,
    allocated: DIRECTORY_BYTES,
    mode: options.mode | ((options.mode & 0o444) >> 2),
    uid: options.uid,
    gid: options.gid,
    links: 2,
    timeMs: own.timeMs,
  };
}
