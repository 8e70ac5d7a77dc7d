import t from "tap";
import { encoded } from "../../../../src/binary.js";
import type { NodeAttributes } from "../../../../src/fs/filesystem.js";
import { attrOf, direntType, entryOf, NEGATIVE_ENTRY, NO_ENTRY } from "../../../../src/fs/fuse/attributes.js";
import { attr, entryOut } from "../../../../src/fs/fuse/protocol.js";
import { bytes } from "../../../../src/units.js";
import { hex, toHex } from "../../../fixtures/fuse-session.js";

const FILE: NodeAttributes = {
  inode: 7,
  kind: "file",
  size: bytes(10_000),
  allocated: bytes(8192),
  mode: 0o400,
  uid: 1000,
  gid: 100,
  links: 1,
  timeMs: 1_767_323_045_678,
};

void t.test("a file, byte by byte", (t) => {
  t.equal(
    toHex(encoded(attr, attrOf(FILE))),
    toHex(
      hex(`0700000000000000 1027000000000000 1000000000000000
           a535576900000000 a535576900000000 a535576900000000 80756928 80756928 80756928
           00810000 01000000 e8030000 64000000 00000000 00000200 00000000`),
    ),
  );
  t.end();
});

void t.test("blocks: rounded up, and never 0 for a file with bytes", (t) => {
  const blocks = (size: number, allocated: number) =>
    attrOf({ ...FILE, size: bytes(size), allocated: bytes(allocated) }).blocks;
  t.equal(blocks(10_000, 10_000), 20);
  t.equal(blocks(1, 0), 8, "tar -S would archive nothing");
  t.equal(blocks(2 ** 40, 0), 8);
  t.equal(blocks(0, 0), 0);
  t.equal(blocks(62 * 2 ** 40, 62 * 2 ** 40), 62 * 2 ** 31);
  t.end();
});

void t.test("kinds", (t) => {
  const folder: NodeAttributes = { ...FILE, kind: "directory", size: bytes(0), allocated: bytes(0), mode: 0o755 };
  t.equal(attrOf(folder).mode, 0o40755);
  t.equal(attrOf(folder).blocks, 0);
  t.equal(direntType(folder), 4);
  t.equal(direntType(FILE), 8);
  t.end();
});

void t.test("a missing name is cached, the entries . and .. are not", (t) => {
  t.equal(encoded(entryOut, NEGATIVE_ENTRY).length, 128);
  t.equal(NEGATIVE_ENTRY.nodeid, 0);
  t.ok(NEGATIVE_ENTRY.entryValid > 0);
  t.equal(NO_ENTRY.entryValid, 0);
  t.equal(entryOf(FILE).nodeid, 7);
  t.end();
});
