import t from "tap";
import { viewOf } from "../../../../src/binary.js";
import { DirectoryListing } from "../../../../src/fs/fuse/directory.js";
import { dirent, entryOut } from "../../../../src/fs/fuse/protocol.js";
import { toHex } from "../../../fixtures/fuse-session.js";
import { MemoryFileSystem } from "../../../fixtures/memory-file-system.js";

function listing(names: readonly string[]): DirectoryListing {
  const tree = new MemoryFileSystem();
  for (const name of names) tree.addFile(name, { size: 1 });
  return new DirectoryListing(tree.attributes(1)!, tree.list(1)!);
}

/** Takes an answer apart as the kernel does. */
function names(data: Uint8Array, plus: boolean): { name: string; off: number; nodeid: number | undefined }[] {
  const found = [];
  for (let at = 0; at < data.length;) {
    const nodeid = plus ? entryOut.decode(viewOf(data), at).nodeid : undefined;
    const start = at + (plus ? entryOut.size : 0);
    const { namelen, off } = dirent.decode(viewOf(data), start);
    const name = Buffer.from(data.subarray(start + 24, start + 24 + namelen)).toString();
    found.push({ name, off, nodeid });
    at = Math.ceil((start + 24 + namelen) / 8) * 8;
  }
  return found;
}

void t.test("a record, byte by byte", (t) => {
  const data = listing(["größe"]).encode(2, 4096, false);
  t.equal(toHex(data), `0200000000000000 0300000000000000 07000000 08000000 6772c3b6c39f6500`.replaceAll(" ", ""));
  t.end();
});

void t.test("dots first, then every entry with the cookie of the next", (t) => {
  const found = names(listing(["a", "b"]).encode(0, 4096, true), true);
  t.strictSame(found, [
    { name: ".", off: 1, nodeid: 0 },
    { name: "..", off: 2, nodeid: 0 },
    { name: "a", off: 3, nodeid: 2 },
    { name: "b", off: 4, nodeid: 3 },
  ]);
  t.end();
});

void t.test("in small pieces every name comes once and no record is cut", (t) => {
  const all = Array.from({ length: 300 }, (_, index) => `${"ж".repeat(index % 50)}${index}`);
  const whole = listing(all);
  for (const plus of [false, true]) {
    const found: string[] = [];
    for (let cookie = 0; ;) {
      const data = whole.encode(cookie, 600, plus);
      t.ok(data.length <= 600 && data.length % 8 === 0);
      const piece = names(data, plus);
      const last = piece.at(-1);
      if (last === undefined) break;
      found.push(...piece.map((entry) => entry.name));
      cookie = last.off;
    }
    t.strictSame(found, [".", "..", ...all]);
  }
  t.end();
});

void t.test("nothing fits, or nothing is left: empty", (t) => {
  t.equal(listing(["abc"]).encode(0, 31, false).length, 0);
  t.equal(listing(["abc"]).encode(3, 4096, false).length, 0);
  t.equal(listing([]).encode(99, 4096, true).length, 0);
  t.end();
});
