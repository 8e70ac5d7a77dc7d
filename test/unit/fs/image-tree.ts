import t from "tap";
import { IntegrityError, NotFoundError } from "../../../src/errors.js";
import { ROOT_INODE } from "../../../src/fs/filesystem.js";
import type { FileContent } from "../../../src/fs/image-file.js";
import { memoryFile } from "../../../src/fs/image-file.js";
import { ImageTree, type TreeDirectory, type TreeFile } from "../../../src/fs/image-tree.js";
import { bytes, GIB } from "../../../src/units.js";

const OPTIONS = { mode: 0o440, uid: 1000, gid: 100, timeMs: 5000 };
const { signal } = new AbortController();

function file(name: string, content: FileContent = memoryFile(Buffer.from(name)), identity = `id ${name}`): TreeFile {
  return { kind: "file", name, identity, content, timeMs: 7000 };
}

function folder(name: string, files: readonly TreeFile[]): TreeDirectory {
  return { kind: "directory", name, identity: `folder ${name}`, timeMs: 6000, files };
}

function disk(size: number, allocated: number | undefined): FileContent {
  return {
    size: bytes(size),
    allocated: allocated === undefined ? undefined : bytes(allocated),
    open: () => memoryFile(new Uint8Array(0)).open(),
  };
}

void t.test("shows files with their attributes, and the root", async (t) => {
  const tree = new ImageTree([file("a.txt"), file("b.txt")], OPTIONS);
  const [a, b] = tree.list(ROOT_INODE) ?? [];
  t.strictSame([a?.name, b?.name], ["a.txt", "b.txt"]);
  t.strictSame(tree.attributes(ROOT_INODE), {
    inode: ROOT_INODE,
    kind: "directory",
    size: 4096,
    allocated: 4096,
    mode: 0o550,
    uid: 1000,
    gid: 100,
    links: 2,
    timeMs: 5000,
  });
  t.match(a?.attributes, {
    kind: "file",
    size: 5,
    allocated: 5,
    mode: 0o440,
    uid: 1000,
    gid: 100,
    links: 1,
    timeMs: 7000,
  });
  t.strictSame(tree.lookup(ROOT_INODE, "a.txt"), a?.attributes);
  t.strictSame(tree.attributes(a?.attributes.inode ?? 0), a?.attributes);
  t.match(tree, { fileCount: 2, totalBytes: 10 });
  const into = new Uint8Array(5);
  await tree.open(b?.attributes.inode ?? 0).read(into, bytes(0), { signal });
  t.equal(Buffer.from(into).toString(), "b.txt");
});

void t.test("shows one level of directories", (t) => {
  const tree = new ImageTree([folder("vm1", [file("x")]), folder("vm2", [file("x", undefined, "other x")])], OPTIONS);
  t.equal(tree.attributes(ROOT_INODE)?.links, 4);
  const vm1 = tree.lookup(ROOT_INODE, "vm1");
  t.match(vm1, { kind: "directory", links: 2, timeMs: 6000, mode: 0o550 });
  const x = tree.lookup(vm1?.inode ?? 0, "x");
  t.match(x, { kind: "file", size: 1 });
  t.not(x?.inode, tree.lookup(tree.lookup(ROOT_INODE, "vm2")?.inode ?? 0, "x")?.inode);
  t.strictSame(
    tree.list(vm1?.inode ?? 0)?.map(({ name }) => name),
    ["x"],
  );
  t.match(tree, { fileCount: 2, totalBytes: 2 });
  t.end();
});

void t.test("knows nothing of what is not there", (t) => {
  const tree = new ImageTree([file("a")], OPTIONS);
  const inode = tree.lookup(ROOT_INODE, "a")?.inode ?? 0;
  t.equal(tree.lookup(ROOT_INODE, "b"), undefined);
  t.equal(tree.lookup(ROOT_INODE, "constructor"), undefined);
  t.equal(tree.lookup(inode, "a"), undefined);
  t.equal(tree.lookup(12345, "a"), undefined);
  t.equal(tree.attributes(12345), undefined);
  t.equal(tree.list(inode), undefined);
  t.throws(() => tree.open(ROOT_INODE), NotFoundError);
  t.throws(() => tree.open(12345), { message: "Cannot open inode 12345: it is not a file of this tree" });
  t.end();
});

void t.test("allocation is the size where unknown and never 0 for a file with bytes", (t) => {
  const cases: [FileContent, number][] = [
    [disk(GIB, undefined), GIB],
    [disk(GIB, 123456), 123456],
    [disk(GIB, 0), 4096],
    [disk(512, 0), 512],
    [disk(0, 0), 0],
    [disk(0, undefined), 0],
  ];
  for (const [content, allocated] of cases) {
    const tree = new ImageTree([file("disk", content)], OPTIONS);
    t.equal(tree.lookup(ROOT_INODE, "disk")?.allocated, allocated);
  }
  t.end();
});

void t.test("refuses names that are not one safe component of a path, and names twice", (t) => {
  const names = ["", ".", "..", "a/b", "/", "a\0b", "a\nb", "\u001b[2J", "\u007f", "\ud800", "é".repeat(128)];
  for (const name of names) {
    t.throws(() => new ImageTree([file(name)], OPTIONS), IntegrityError, JSON.stringify(name));
    t.throws(() => new ImageTree([folder("vm", [file(name)])], OPTIONS), IntegrityError);
  }
  t.throws(() => new ImageTree([file("a"), file("a", undefined, "other")], OPTIONS), {
    message: 'Cannot show "a" in the mount: the name is taken',
  });
  t.throws(() => new ImageTree([file("a"), file("b", undefined, "id a")], OPTIONS), IntegrityError);
  for (const name of ["...", "a b", "é".repeat(127), "a\\b", "%2f", "-rf"]) new ImageTree([file(name)], OPTIONS);
  t.end();
});

void t.test("an empty tree is a tree", (t) => {
  const tree = new ImageTree([], OPTIONS);
  t.strictSame(tree.list(ROOT_INODE), []);
  t.match(tree, { fileCount: 0, totalBytes: 0 });
  t.end();
});
