import t from "tap";
import { Cursor, encoded } from "../../../../src/binary.js";
import { IntegrityError } from "../../../../src/errors.js";
import { decodeInit, negotiate, READ_BYTES_MAX, REQUEST_BYTES_MAX } from "../../../../src/fs/fuse/init.js";
import { INIT_FLAGS, initOut } from "../../../../src/fs/fuse/protocol.js";
import { KIB, MIB } from "../../../../src/units.js";
import { hex, toHex } from "../../../fixtures/fuse-session.js";

const LIMITS = { pageSize: 4096, maxPagesLimit: 256, passthrough: false };

/** The body Linux 6.18 sends: protocol 7.45, 128 KiB read-ahead. */
const INIT_6_18 = hex(`070000002d000000 00000200 fbffff73 fd050000 ${"00".repeat(44)}`);

void t.test("a 64-byte INIT of Linux 6.18 and a 16-byte one of Linux 5.4 are both understood", (t) => {
  const long = decodeInit(new Cursor(INIT_6_18));
  t.strictSame(long, { major: 7, minor: 45, maxReadahead: 131072, flags: 0x73fffffb, flags2: 0x5fd });
  const short = decodeInit(new Cursor(hex("070000001f000000 00000200 fbff7f00")));
  t.strictSame(short, { major: 7, minor: 31, maxReadahead: 131072, flags: 0x7ffffb, flags2: 0 });
  t.throws(() => decodeInit(new Cursor(INIT_6_18.subarray(0, 15))), IntegrityError);
  t.end();
});

void t.test("the answer to Linux 6.18, byte by byte", (t) => {
  const answer = negotiate(decodeInit(new Cursor(INIT_6_18)), LIMITS);
  t.strictSame(answer.agreed, { minor: 45, readBytesMax: MIB, passthrough: false });
  t.equal(
    toHex(encoded(initOut, answer.reply)),
    `070000002d000000 00000200 21e06442 4000 3000 00100000 01000000 0001 0000 ${"00".repeat(32)}`.replaceAll(" ", ""),
  );
  t.end();
});

void t.test("passthrough is agreed on where both sides want it, with one layer below", (t) => {
  const wanted = { ...LIMITS, passthrough: true };
  const answer = negotiate(decodeInit(new Cursor(INIT_6_18)), wanted);
  t.equal(answer.agreed?.passthrough, true);
  t.equal(
    toHex(encoded(initOut, answer.reply)).slice(64),
    `20000000 01000000 ${"00".repeat(24)}`.replaceAll(" ", ""),
    "flags2 and max_stack_depth",
  );
  // flags2 of Linux 6.8: no bit 5.
  const older = hex(`0700000027000000 00000200 fbffff73 dd010000 ${"00".repeat(44)}`);
  const { agreed, reply } = negotiate(decodeInit(new Cursor(older)), wanted);
  t.strictSame([agreed?.passthrough, reply.flags2, reply.maxStackDepth], [false, 0, 0]);
  // Without INIT_EXT the word that follows means nothing.
  const unsaid = decodeInit(new Cursor(hex(`0700000027000000 00000200 fbffff33 ffffffff ${"00".repeat(44)}`)));
  t.equal(unsaid.flags2, 0);
  t.equal(negotiate(unsaid, wanted).agreed?.passthrough, false);
  t.end();
});

void t.test("a new kernel answered as one of Linux 5.4 hears of nothing that is newer", (t) => {
  const answer = negotiate(decodeInit(new Cursor(INIT_6_18)), { ...LIMITS, passthrough: true, minorMax: 31 });
  t.strictSame(answer.agreed, { minor: 31, readBytesMax: MIB, passthrough: false });
  const short = decodeInit(new Cursor(hex("070000001f000000 00000200 fbff7f00")));
  t.strictSame(answer.reply, { ...negotiate(short, LIMITS).reply, flags: answer.reply.flags });
  t.equal(answer.reply.flags & INIT_FLAGS.INIT_EXT, 0);
  t.end();
});

void t.test("bodies of odd lengths: a kernel that sends more, or less than its flags say", (t) => {
  const longer = new Uint8Array(128);
  longer.set(INIT_6_18);
  t.strictSame(decodeInit(new Cursor(longer)), decodeInit(new Cursor(INIT_6_18)));
  const cut = decodeInit(new Cursor(INIT_6_18.subarray(0, 16)));
  t.strictSame([cut.flags, cut.flags2], [0x73fffffb, 0]);
  t.end();
});

void t.test("only flags that the kernel offered come back", (t) => {
  const init = { major: 7, minor: 23, maxReadahead: 4096, flags: INIT_FLAGS.ASYNC_READ | (1 << 16), flags2: 0 };
  const { agreed, reply } = negotiate(init, LIMITS);
  t.equal(reply.flags, INIT_FLAGS.ASYNC_READ);
  t.equal(reply.minor, 23);
  t.equal(reply.maxReadahead, 4096);
  t.strictSame(agreed, { minor: 23, readBytesMax: 128 * KIB, passthrough: false }, "no MAX_PAGES: 128 KiB");
  t.ok(negotiate({ ...init, flags: 0xffffffff }, LIMITS).reply.flags > 0, "no sign in a flag word");
  t.end();
});

void t.test("a READ is never longer than our buffers, whatever page size and limit", (t) => {
  const init = { major: 7, minor: 45, maxReadahead: 131072, flags: INIT_FLAGS.MAX_PAGES, flags2: 0 };
  const size = (pageSize: number, maxPagesLimit: number | undefined) =>
    negotiate(init, { pageSize, maxPagesLimit, passthrough: false }).agreed?.readBytesMax;
  t.equal(size(4096, 256), READ_BYTES_MAX);
  t.equal(size(4096, 65535), READ_BYTES_MAX);
  t.equal(size(4096, undefined), READ_BYTES_MAX);
  t.equal(size(4096, 64), 256 * KIB);
  t.equal(size(65536, 256), READ_BYTES_MAX);
  t.equal(size(4096, 0), 4096);
  t.end();
});

void t.test("a later major is asked to come down to ours", (t) => {
  const { agreed, reply } = negotiate({ major: 8, minor: 0, maxReadahead: 0, flags: 0, flags2: 0 }, LIMITS);
  t.equal(agreed, undefined);
  t.equal(reply.major, 7);
  t.end();
});

t.ok(REQUEST_BYTES_MAX >= 8192, "the kernel refuses to fill less");
