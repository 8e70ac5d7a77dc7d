import t from "tap";
import { viewOf } from "../../../../src/binary.js";
import { DiskIoError, IntegrityError } from "../../../../src/errors.js";
import { entryOut, kstatfs, openOut } from "../../../../src/fs/fuse/protocol.js";
import { hex, readBody, request, TestSession, toHex } from "../../../fixtures/fuse-session.js";
import { MemoryFileSystem, pattern } from "../../../fixtures/memory-file-system.js";

const name = (text: string): Uint8Array => new Uint8Array(Buffer.from(`${text}\0`));
const fh = (number: number, length: number): Uint8Array => {
  const body = new Uint8Array(length);
  viewOf(body).setBigUint64(0, BigInt(number), true);
  return body;
};
const seek = (number: number, offset: bigint, whence: number): Uint8Array => {
  const body = fh(number, 24);
  viewOf(body).setBigUint64(8, offset, true);
  viewOf(body).setUint32(16, whence, true);
  return body;
};

const DATA = pattern(5000, 1);

function tree(): MemoryFileSystem {
  const filesystem = new MemoryFileSystem();
  filesystem.addFolder("vm");
  filesystem.addFile("disk", { size: 20_000, extents: [{ at: 8192, data: DATA }] });
  return filesystem;
}
const DISK = 3;

void t.test("a captured READ of Linux 6.18 is answered with the file's bytes", async (t) => {
  const filesystem = new MemoryFileSystem();
  filesystem.addFile("a", { size: 8192, extents: [{ at: 0, data: pattern(8192, 2) }] });
  const session = new TestSession(t, filesystem);
  await session.request(request(14, 8, 2, new Uint8Array(8)));
  const reply = await session.last(
    hex(`500000000f0000000e0000000000000002000000000000000000000000000000d22a00000000000001000000000000000000
         00000000000000200000000000000000000000000000008000000000 0000`),
  );
  t.equal(reply.unique, 14n);
  t.strictSame(reply.body, pattern(8192, 2));
});

void t.test("names: found, absent (cached), and not in a file", async (t) => {
  const session = new TestSession(t, tree());
  const found = await session.last(request(1, 2, 1, name("disk")));
  t.equal(entryOut.decode(viewOf(found.body), 0).nodeid, DISK);
  const absent = await session.last(request(1, 4, 1, name("nothing")));
  t.equal(absent.error, 0);
  t.equal(entryOut.decode(viewOf(absent.body), 0).nodeid, 0);
  t.equal((await session.last(request(1, 6, 1, new Uint8Array(Buffer.from("no NUL"))))).error, -5);
});

void t.test("wrong kinds, nodes and handles", async (t) => {
  const session = new TestSession(t, tree());
  const error = async (opcode: number, nodeid: number, body: Uint8Array) =>
    (await session.last(request(opcode, 2, nodeid, body))).error;
  t.equal(await error(3, 99, new Uint8Array(16)), -2, "GETATTR of an unknown node: ENOENT");
  t.equal(await error(14, 99, new Uint8Array(8)), -2, "OPEN of an unknown node: ENOENT");
  t.equal(await error(14, 1, new Uint8Array(8)), -21, "OPEN of a directory: EISDIR");
  t.equal(await error(27, 99, new Uint8Array(8)), -2);
  t.equal(await error(27, DISK, new Uint8Array(8)), -20, "OPENDIR of a file: ENOTDIR");
  for (const opcode of [15, 28, 44]) t.equal(await error(opcode, DISK, readBody(77, 0, 4096)), -9, "EBADF");
  t.equal(await error(46, DISK, seek(77, 0n, 3)), -9);
  t.equal(await error(15, DISK, readBody(1, 0, 4096).subarray(0, 39)), -5, "one byte short");
});

void t.test("LSEEK: data, holes and the end", async (t) => {
  const session = new TestSession(t, tree());
  const opened = await session.last(request(14, 2, DISK, new Uint8Array(8)));
  t.strictSame(openOut.decode(viewOf(opened.body), 0), { fh: 1, openFlags: 0x22, backingId: 0 });
  const answer = async (offset: bigint, whence: number) => {
    const reply = await session.last(request(46, 4, DISK, seek(1, offset, whence)));
    return reply.error === 0 ? Number(viewOf(reply.body).getBigUint64(0, true)) : reply.error;
  };
  t.equal(await answer(0n, 3), 8192);
  t.equal(await answer(9000n, 3), 9000);
  t.equal(await answer(9000n, 4), 13_192);
  t.equal(await answer(0n, 4), 0);
  t.equal(await answer(14_000n, 3), -6, "ENXIO in the last hole");
  t.equal(await answer(20_000n, 3), -6, "ENXIO at the end");
  t.equal(await answer(20_000n, 4), -6);
  t.equal(await answer(2n ** 62n, 4), -6, "ENXIO far beyond it");
  t.equal(await answer(0n, 0), -22, "the kernel does SEEK_SET itself");
});

void t.test("every other operation: ENOSYS, or silence where nobody listens", async (t) => {
  const session = new TestSession(t, tree());
  for (const opcode of [4, 8, 9, 10, 11, 12, 16, 21, 22, 23, 31, 34, 35, 39, 40, 43, 45, 47, 50, 52, 53, 999]) {
    t.equal((await session.last(request(opcode, 2 * opcode, 1, new Uint8Array(56)))).error, -38, `opcode ${opcode}`);
  }
  const before = (await session.all()).length;
  for (const opcode of [2, 41, 42]) await session.request(request(opcode, 2, 1, new Uint8Array(16)));
  await session.request(request(36, 3, 0, new Uint8Array(7)));
  t.equal((await session.all()).length, before, "FORGET, BATCH_FORGET, NOTIFY_REPLY and a bad INTERRUPT");
  t.equal(session.session.statistics.requests["OPCODE_999"], 1);
  for (const opcode of [25, 38]) t.equal((await session.last(request(opcode, 2, 1, new Uint8Array(24)))).error, 0);
});

void t.test("statfs tells bytes and files", async (t) => {
  const reply = await new TestSession(t, tree()).last(request(17, 2, 1));
  t.match(kstatfs.decode(viewOf(reply.body), 0), { blocks: 5, bfree: 0, bsize: 4096, files: 1, namelen: 255 });
});

void t.test("INIT with 56 bytes, as before Linux 5.17", async (t) => {
  const session = new TestSession(t, tree());
  const reply = await session.last(request(26, 2, 0, hex("070000001f00000000000200fbff7f00")));
  t.equal(toHex(reply.body.subarray(0, 8)), "070000001f000000");
  t.strictSame(await session.session.ready, {
    minor: 31,
    readBytesMax: 1024 * 1024,
    passthrough: false,
  });
});

void t.test("whatever the file system throws, the caller gets an answer and the log the reason", async (t) => {
  const filesystem = tree();
  filesystem.open = () => {
    throw new DiskIoError("Cannot open the disk: the server is gone");
  };
  filesystem.attributes = () => {
    throw new TypeError("a bug");
  };
  const session = new TestSession(t, filesystem);
  t.equal((await session.last(request(3, 2, 1, new Uint8Array(16)))).error, -5);
  t.match(session.log.at(-1), /"level":"error".*a bug/);
  filesystem.attributes = tree().attributes.bind(tree());
  t.equal((await session.last(request(14, 4, DISK, new Uint8Array(8)))).error, -5);
  t.match(session.log.at(-1), /"level":"warn".*the server is gone/);
});

void t.test("a message that contradicts its own length has nobody to answer", async (t) => {
  const session = new TestSession(t, tree());
  await t.rejects(session.request(request(3, 2, 1).subarray(0, 39)), IntegrityError);
  const long = new Uint8Array(57);
  long.set(request(3, 2, 1, new Uint8Array(16)));
  await t.rejects(session.request(long), IntegrityError);
  t.equal((await session.all()).length, 0);
});
