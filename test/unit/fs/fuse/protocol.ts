import t from "tap";
import { Cursor, encoded, viewOf, type Struct } from "../../../../src/binary.js";
import { IntegrityError } from "../../../../src/errors.js";
import * as protocol from "../../../../src/fs/fuse/protocol.js";
import { hex, toHex } from "../../../fixtures/fuse-session.js";

// Requests captured from Linux 6.18 (x86-64), with the callers `ls` and python3; sizes from linux/fuse.h.

void t.test("request headers and bodies as a kernel sends them", (t) => {
  const message = hex(`
    50000000 0f000000 0e00000000000000 0200000000000000 00000000 00000000 d22a0000 0000 0000
    0100000000000000 0000000000000000 00200000 00000000 0000000000000000 00800000 00000000`);
  const cursor = new Cursor(message);
  t.strictSame(cursor.take(protocol.inHeader), {
    len: 80,
    opcode: 15,
    unique: 14n,
    nodeid: 2,
    uid: 0,
    gid: 0,
    pid: 0x2ad2,
    totalExtlen: 0,
  });
  const read = { fh: 1, offset: 0, size: 8192, readFlags: 0, lockOwner: 0n, flags: 0x8000 };
  t.strictSame(cursor.take(protocol.readIn), read);
  t.equal(cursor.remaining, 0);

  const seek = hex("0100000000000000 6400000000000000 04000000 00000000");
  t.strictSame(protocol.lseekIn.decode(viewOf(seek), 0), { fh: 1, offset: 100n, whence: 4 });
  t.strictSame(protocol.openIn.decode(viewOf(hex("0080000000000000")), 0), { flags: 0x8000, openFlags: 0 });
  t.strictSame(protocol.releaseIn.decode(viewOf(hex("0100000000000000 00800000 00000000 0000000000000000")), 0), {
    fh: 1,
    flags: 0x8000,
    releaseFlags: 0,
    lockOwner: 0n,
  });
  t.end();
});

void t.test("replies byte by byte", (t) => {
  t.equal(toHex(encoded(protocol.outHeader, { len: 16, error: -5, unique: 14n })), "10000000fbffffff0e00000000000000");
  t.equal(
    toHex(encoded(protocol.openOut, { fh: 1, openFlags: 0x22, backingId: 0 })),
    "01000000000000002200000000000000",
  );
  t.equal(toHex(encoded(protocol.lseekOut, { offset: 4096 })), "0010000000000000");
  const statfs = { blocks: 2, bfree: 0, bavail: 0, files: 1, ffree: 0, bsize: 4096, namelen: 255, frsize: 4096 };
  t.equal(
    toHex(encoded(protocol.kstatfs, statfs)),
    `0200000000000000${"0".repeat(32)}0100000000000000${"0".repeat(16)}00100000ff00000000100000${"0".repeat(56)}`,
  );
  t.equal(
    toHex(encoded(protocol.dirent, { ino: 2, off: 3, namelen: 1, type: 8 })),
    "0200000000000000 0300000000000000 01000000 08000000".replaceAll(" ", ""),
  );
  t.end();
});

void t.test("one byte short is refused, for every request", (t) => {
  const requests: Record<string, Struct<unknown>> = {
    inHeader: protocol.inHeader,
    initIn: protocol.initIn,
    openIn: protocol.openIn,
    readIn: protocol.readIn,
    releaseIn: protocol.releaseIn,
    lseekIn: protocol.lseekIn,
    interruptIn: protocol.interruptIn,
  };
  for (const [name, layout] of Object.entries(requests)) {
    t.throws(() => new Cursor(new Uint8Array(layout.size - 1)).take(layout), IntegrityError, name);
    t.doesNotThrow(() => new Cursor(new Uint8Array(layout.size + 1)).take(layout), name);
  }
  t.throws(
    () => protocol.inHeader.decode(viewOf(new Uint8Array(40).fill(255)), 0),
    IntegrityError,
    "a node id we cannot have given out",
  );
  t.end();
});
