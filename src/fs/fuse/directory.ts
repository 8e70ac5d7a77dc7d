import { viewOf } from "../../binary.js";
import { ROOT_INODE, type DirectoryEntry, type Inode, type NodeAttributes } from "../filesystem.js";
import { direntType, entryOf, NO_ENTRY } from "./attributes.js";
import { dirent, entryOut } from "./protocol.js";

/** Records start at multiples of this (FUSE_DIRENT_ALIGN). */
const ALIGNMENT = 8;

/** Most we answer to one READDIR; the kernel asks for 32 KiB (4 KiB before Linux 6.16). */
const ANSWER_BYTES_MAX = 256 * 1024;

interface Row {
  readonly name: Uint8Array;
  readonly inode: Inode;
  readonly type: number;
  /** Absent for "." and "..". */
  readonly node: NodeAttributes | undefined;
}

/**
 * What an open directory lists, fixed when it was opened. The cookie of a position is its index: 0 is ".", 1 is "..",
 * and each record carries the cookie of its successor, which the kernel hands back to go on.
 */
export class DirectoryListing {
  readonly #rows: readonly Row[];

  constructor(directory: NodeAttributes, entries: readonly DirectoryEntry[]) {
    const type = direntType(directory);
    this.#rows = [
      { name: Buffer.from("."), inode: directory.inode, type, node: undefined },
      // Nobody relies on the parent's number here: getcwd(3) and ls ask the kernel, which knows the real one.
      { name: Buffer.from(".."), inode: ROOT_INODE, type, node: undefined },
      ...entries.map(({ name, attributes }) => ({
        name: Buffer.from(name),
        inode: attributes.inode,
        type: direntType(attributes),
        node: attributes,
      })),
    ];
  }

  /** As many whole records from `cookie` on as fit in `size` bytes; nothing at the end. */
  encode(cookie: number, size: number, plus: boolean): Uint8Array {
    const data = new Uint8Array(Math.min(size, ANSWER_BYTES_MAX));
    const view = viewOf(data);
    let at = 0;
    for (let index = cookie; index < this.#rows.length; index++) {
      const row = this.#rows[index];
      if (row === undefined) break;
      const fixed = dirent.size + (plus ? entryOut.size : 0);
      const length = Math.ceil((fixed + row.name.length) / ALIGNMENT) * ALIGNMENT;
      if (at + length > data.length) break;
      if (plus) entryOut.encode(row.node === undefined ? NO_ENTRY : entryOf(row.node), view, at);
      const record = { ino: row.inode, off: index + 1, namelen: row.name.length, type: row.type };
      dirent.encode(record, view, at + fixed - dirent.size);
      data.set(row.name, at + fixed);
      at += length;
    }
    return data.subarray(0, at);
  }
}
