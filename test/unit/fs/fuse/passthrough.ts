import { closeSync, ftruncateSync, openSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import t, { type Test } from "tap";
import { viewOf } from "../../../../src/binary.js";
import { openOut } from "../../../../src/fs/fuse/protocol.js";
import { bytes } from "../../../../src/units.js";
import { hex, request, TestSession } from "../../../fixtures/fuse-session.js";
import { MemoryFileSystem, pattern } from "../../../fixtures/memory-file-system.js";

const SIZE = 12_345;
/** The INIT of Linux 6.18, which offers passthrough. */
const OFFER = hex(`070000002d000000 00000200 fbffff73 fd050000 ${"00".repeat(44)}`);
const NO_OFFER = hex(`0700000027000000 00000200 fbffff73 dd010000 ${"00".repeat(44)}`);
const KEEP_CACHE_NOFLUSH = 0x22;
const PASSTHROUGH_NOFLUSH = 0xa0;

function localFile(t: Test, size = SIZE): number {
  const path = join(t.testdir({ disk: "" }), "disk");
  writeFileSync(path, pattern(size, 1));
  const fd = openSync(path, "r+");
  t.teardown(() => {
    closeSync(fd);
  });
  return fd;
}

interface Place {
  readonly fd: number;
  readonly offset?: number;
}

async function started(t: Test, where: () => Place | undefined, offer = OFFER): Promise<TestSession> {
  const filesystem = new MemoryFileSystem();
  const place = () => {
    const found = where();
    return found && { fd: found.fd, offset: bytes(found.offset ?? 0) };
  };
  for (const name of ["first", "second"]) filesystem.addFile(name, { size: SIZE, localFile: place });
  const session = new TestSession(t, filesystem);
  await session.request(request(26, 2, 0, offer));
  return session;
}

async function open(session: TestSession, inode: number): Promise<{ openFlags: number; backingId: number }> {
  const reply = await session.last(request(14, 4, inode, new Uint8Array(8)));
  if (reply.error !== 0) throw new Error(`An open must never fail for it: ${reply.error}`);
  const { openFlags, backingId } = openOut.decode(viewOf(reply.body), 0);
  return { openFlags, backingId };
}

const SERVED = { openFlags: KEEP_CACHE_NOFLUSH, backingId: 0 };

void t.test("every open of an inode gets the same backing id, each inode its own", async (t) => {
  const fd = localFile(t);
  const session = await started(t, () => ({ fd }));
  let next = 7;
  session.backing = () => next++;
  t.strictSame(await open(session, 2), { openFlags: PASSTHROUGH_NOFLUSH, backingId: 7 });
  t.strictSame(await open(session, 2), { openFlags: PASSTHROUGH_NOFLUSH, backingId: 7 });
  t.strictSame(await open(session, 3), { openFlags: PASSTHROUGH_NOFLUSH, backingId: 8 });
  t.match(session.session.statistics, { passthroughFiles: 2, openFiles: 3 });
  session.session.end();
  t.strictSame(session.backingClosed, [7, 8]);
});

void t.test("the mode of an inode stays what its first open made it", async (t) => {
  const fd = localFile(t);
  let place: Place | undefined;
  const session = await started(t, () => place);
  t.strictSame(await open(session, 2), SERVED);
  place = { fd };
  t.strictSame(await open(session, 2), SERVED, "it may be open in the other mode");
  t.equal((await open(session, 3)).openFlags, PASSTHROUGH_NOFLUSH);
  place = undefined;
  t.equal((await open(session, 3)).openFlags, PASSTHROUGH_NOFLUSH);
});

void t.test("a refusal by the kernel is said once, and the file is served", async (t) => {
  const fd = localFile(t);
  const session = await started(t, () => ({ fd }));
  let asked = 0;
  session.backing = () => {
    asked++;
    throw Object.assign(new Error("FUSE_DEV_IOC_BACKING_OPEN: ELOOP"), { code: "ELOOP" });
  };
  t.strictSame(await open(session, 2), SERVED);
  session.backing = (file) => file;
  t.strictSame(await open(session, 2), SERVED, "for the life of the mount");
  t.equal(asked, 1);
  t.equal(session.log.filter((line) => line.includes("ELOOP")).length, 1);
  t.equal(session.session.statistics.passthroughFiles, 0);
});

void t.test("only a whole regular file of the image's size", async (t) => {
  const fd = localFile(t);
  const folder = openSync(t.testdir({}), "r");
  t.teardown(() => {
    closeSync(folder);
  });
  for (const [what, place] of Object.entries({
    "an offset": { fd, offset: 512 },
    "a directory": { fd: folder },
    "no open file": { fd: 1_000_000 },
  })) {
    t.strictSame(await open(await started(t, () => place), 2), SERVED, what);
  }
  ftruncateSync(fd, SIZE - 1);
  t.strictSame(await open(await started(t, () => ({ fd })), 2), SERVED, "a byte less");
  ftruncateSync(fd, SIZE + 1);
  const session = await started(t, () => ({ fd }));
  t.strictSame(await open(session, 2), SERVED, "a byte more");
  t.match(session.log.at(-1), /it has 12346 bytes, the image 12345/);
});

void t.test("never without the kernel's offer", async (t) => {
  const fd = localFile(t);
  t.strictSame(await open(await started(t, () => ({ fd }), NO_OFFER), 2), SERVED);
});

void t.test("a backing id that cannot be closed does not keep the rest", async (t) => {
  const fd = localFile(t);
  const session = await started(t, () => ({ fd }));
  await open(session, 2);
  session.backingClosed.push = () => {
    throw new Error("FUSE_DEV_IOC_BACKING_CLOSE: ENOENT");
  };
  t.doesNotThrow(() => {
    session.session.end();
  });
  t.match(session.log.at(-1), /Cannot close a backing file/);
});
