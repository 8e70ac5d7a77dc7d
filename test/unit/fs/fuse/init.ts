import t from "tap";
import { Cursor, encoded } from "../../../../src/binary.js";
import { IntegrityError } from "../../../../src/errors.js";
import { decodeInit, negotiate, READ_BYTES_MAX, REQUEST_BYTES_MAX } from "../../../../src/fs/fuse/init.js";
import { INIT_FLAGS, initOut } from "../../../../src/fs/fuse/protocol.js";
import { KIB, MIB } from "../../../../src/units.js";
import { hex, toHex } from "../../../fixtures/fuse-session.js";

const LIMITS = { pageSize: 4096, maxPagesLimit: 256 };

/** The body Linux 6.18 sends: protocol 7.45, 128 KiB read-ahead. */
const INIT_6_18 = hex(`070000002d000000 00000200 fbffff73 fd050000 ${"00".repeat(44)}`);

void t.test("a 64-byte INIT of Linux 6.18 and a 16-byte one of Linux 5.4 are both understood", (t) => {
  const long = decodeInit(new Cursor(INIT_6_18));
  t.strictSame(long, { major: 7, minor: 45, maxReadahead: 131072, flags: 0x73fffffb });
  const short = decodeInit(new Cursor(hex("070000001f000000 00000200 fbff7f00")));
  t.strictSame(short, { major: 7, minor: 31, maxReadahead: 131072, flags: 0x7ffffb });
  t.throws(() => decodeInit(new Cursor(INIT_6_18.subarray(0, 15))), IntegrityError);
  t.end();
});

void t.test("the answer to Linux 6.18, byte by byte", (t) => {
  const answer = negotiate(decodeInit(new Cursor(INIT_6_18)), LIMITS);
  t.strictSame(answer.agreed, { minor: 45, readBytesMax: MIB });
  t.equal(
    toHex(encoded(initOut, answer.reply)),
    `070000002d000000 00000200 21e06442 4000 3000 00100000 01000000 0001 0000 ${"00".repeat(32)}`.replaceAll(" ", ""),
  );
  t.end();
});

void t.test("only flags that the kernel offered come back", (t) => {
  const init = { major: 7, minor: 23, maxReadahead: 4096, flags: INIT_FLAGS.ASYNC_READ | (1 << 16) };
  const { agreed, reply } = negotiate(init, LIMITS);
  t.equal(reply.flags, INIT_FLAGS.ASYNC_READ);
  t.equal(reply.minor, 23);
  t.equal(reply.maxReadahead, 4096);
  t.strictSame(agreed, { minor: 23, readBytesMax: 128 * KIB }, "no MAX_PAGES: 128 KiB");
  t.ok(negotiate({ ...init, flags: 0xffffffff }, LIMITS).reply.flags > 0, "no sign in a flag word");
  t.end();
});

void t.test("a READ is never longer than our buffers, whatever page size and limit", (t) => {
  const init = { major: 7, minor: 45, maxReadahead: 131072, flags: INIT_FLAGS.MAX_PAGES };
  const size = (pageSize: number, maxPagesLimit: number | undefined) =>
    negotiate(init, { pageSize, maxPagesLimit }).agreed?.readBytesMax;
  t.equal(size(4096, 256), READ_BYTES_MAX);
  t.equal(size(4096, 65535), READ_BYTES_MAX);
  t.equal(size(4096, undefined), READ_BYTES_MAX);
  t.equal(size(4096, 64), 256 * KIB);
  t.equal(size(65536, 256), READ_BYTES_MAX);
  t.equal(size(4096, 0), 4096);
  t.end();
});

void t.test("a later major is asked to come down to ours", (t) => {
  const { agreed, reply } = negotiate({ major: 8, minor: 0, maxReadahead: 0, flags: 0 }, LIMITS);
  t.equal(agreed, undefined);
  t.equal(reply.major, 7);
  t.end();
});

t.ok(REQUEST_BYTES_MAX >= 8192, "the kernel refuses to fill less");
