import t from "tap";
import { ROOT_INODE } from "../../../../src/fs/filesystem.js";
import { nodeAt } from "../../../../src/fs/fuse-native/path-walk.js";
import { MemoryFileSystem } from "../../../fixtures/memory-file-system.js";

void t.test("paths lead to nodes, and nowhere else", (t) => {
  const tree = new MemoryFileSystem();
  tree.addFolder("vm");
  tree.addFile("vm/a\nb", { size: 3 });
  t.equal(nodeAt(tree, "/")?.inode, ROOT_INODE);
  t.equal(nodeAt(tree, "/vm")?.kind, "directory");
  t.equal(nodeAt(tree, "/vm/a\nb")?.size, 3);
  for (const path of ["/none", "/vm/none", "/none/vm", "/vm/a\nb/c", "/vm/..", "/.", "/__proto__", "/vm/a"]) {
    t.equal(nodeAt(tree, path), undefined, path);
  }
  t.end();
});
