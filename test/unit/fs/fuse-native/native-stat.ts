import t from "tap";
import { nativeStatfsOf, nativeStatOf } from "../../../../src/fs/fuse-native/native-stat.js";
import { ROOT_INODE } from "../../../../src/fs/filesystem.js";
import { bytes } from "../../../../src/units.js";
import { MemoryFileSystem } from "../../../fixtures/memory-file-system.js";

const NODE = {
  inode: 2 ** 47 + 12345,
  kind: "file",
  size: bytes(62 * 1024 ** 4),
  allocated: bytes(513),
  mode: 0o400,
  uid: 1,
  gid: 2,
  links: 1,
  timeMs: 1767323045678.9,
} as const;

void t.test("attributes keep sizes, and blocks are never 0 for a file with bytes", (t) => {
  t.match(nativeStatOf(NODE), {
    mode: 0o100400,
    size: 62 * 1024 ** 4,
    blocks: 8,
    ino: 12345,
    nlink: 1,
    mtime: 1767323045678,
  });
  t.equal(nativeStatOf({ ...NODE, allocated: bytes(0) }).blocks, 8);
  t.equal(nativeStatOf({ ...NODE, allocated: bytes(62 * 1024 ** 4) }).blocks, 62 * 2 ** 31);
  t.equal(nativeStatOf({ ...NODE, size: bytes(0), allocated: bytes(0) }).blocks, 0);
  t.equal(nativeStatOf({ ...NODE, kind: "directory", inode: ROOT_INODE }).ino, ROOT_INODE);
  t.not(nativeStatOf({ ...NODE, inode: 2 ** 40 }).ino, 0, "no inode is 0, which means none");
  t.end();
});

void t.test("statfs counts trees of any size in 32 bits", (t) => {
  for (const size of [0, 1, 4096 * 2 ** 32 - 1, 4096 * 2 ** 32, 62 * 1024 ** 4, 60 * 62 * 1024 ** 4]) {
    const tree = new MemoryFileSystem();
    tree.addFile("disk", { size });
    const { blocks, frsize } = nativeStatfsOf(tree);
    t.ok(blocks < 2 ** 32, `${blocks} blocks of ${frsize}`);
    t.ok(blocks * frsize >= size && blocks * frsize < size + frsize);
  }
  t.end();
});
