import { type FileSystem, type NodeAttributes, ROOT_INODE } from "../filesystem.js";

/** The node that libfuse calls `path` ("/", "/a", "/a/b"): libfuse keeps node ids for itself and hands out paths. */
export function nodeAt(filesystem: FileSystem, path: string): NodeAttributes | undefined {
  let node = filesystem.attributes(ROOT_INODE);
  for (const name of path.split("/")) {
    if (name === "") continue;
    if (node === undefined) return undefined;
    node = filesystem.lookup(node.inode, name);
  }
  return node;
}
