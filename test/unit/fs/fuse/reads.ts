import { setImmediate as turn } from "node:timers/promises";
import t from "tap";
import { CancelledError, DiskIoError } from "../../../../src/errors.js";
import { KIB, MIB } from "../../../../src/units.js";
import type { ReadsOptions } from "../../../../src/fs/fuse/reads.js";
import { readBody, request, TestSession } from "../../../fixtures/fuse-session.js";
import { MemoryFileSystem, pattern, type MemoryFileSpec } from "../../../fixtures/memory-file-system.js";

const DISK = 2;

/** Readers of these tests die when interrupted, unless a test says otherwise. */
const DIES = { isDying: () => Promise.resolve(true) };

async function opened(t: Tap, spec: MemoryFileSpec, reads: Partial<ReadsOptions> = DIES) {
  const tree = new MemoryFileSystem();
  const record = tree.addFile("disk", spec);
  const session = new TestSession(t, tree, reads);
  await session.request(request(14, 2, DISK, new Uint8Array(8)));
  return { session, record };
}
type Tap = ConstructorParameters<typeof TestSession>[0];

const read = (unique: number | bigint, at: number, size: number): Uint8Array =>
  request(15, unique, DISK, readBody(1, at, size));
/** The kernel numbers it like the request that it is about, with FUSE_INT_REQ_BIT set (fs/fuse/dev.c). */
const interrupt = (unique: number | bigint): Uint8Array => {
  const body = Buffer.alloc(8);
  body.writeBigUInt64LE(BigInt(unique));
  return request(36, BigInt(unique) | 1n, 0, new Uint8Array(body));
};
/** What a request that the kernel sends again is numbered: FUSE_UNIQUE_RESEND of linux/fuse.h, protocol 7.40. */
const resent = (unique: number): bigint => BigInt(unique) | (1n << 63n);

/** Reads that end when the test says so. */
class Gates {
  readonly waiting: { readonly at: number; readonly signal: AbortSignal; readonly go: (error?: Error) => void }[] = [];

  readonly beforeRead = (at: number, _length: number, signal: AbortSignal): Promise<void> =>
    new Promise((resolve, reject) => {
      const go = (error?: Error): void => {
        if (error === undefined) resolve();
        else reject(error);
      };
      this.waiting.push({ at, signal, go });
    });
}

void t.test("every length and offset is answered exactly, up to the end of the file", async (t) => {
  const data = pattern(300 * KIB + 5, 1);
  const { session } = await opened(t, { size: data.length, extents: [{ at: 0, data }] });
  for (const [at, size] of [
    [0, 4096],
    [1, 1],
    [4095, 128 * KIB + 2],
    [300 * KIB, 4096],
    [data.length - 1, MIB],
    [data.length, 4096],
    [data.length + 4096, 4096],
    [0, MIB],
  ] as const) {
    await session.request(read(10, at, size));
    await session.session.replies.settled();
    const reply = await session.lastReply();
    t.equal(reply.error, 0);
    t.strictSame(Buffer.from(reply.body), Buffer.from(data.subarray(at, at + size)), `${size} at ${at}`);
  }
});

void t.test("a failed read is EIO without data, whatever failed", async (t) => {
  for (const error of [new DiskIoError("damaged"), new CancelledError("stop", { signal: 15 }), new TypeError("bug")]) {
    const { session } = await opened(t, {
      size: MIB,
      beforeRead: () => {
        throw error;
      },
    });
    const reply = await session.last(read(10, 0, 4096));
    t.equal(reply.error, -5);
    t.equal(reply.body.length, 0);
    t.match(session.log.at(-1), error.message);
  }
});

void t.test("page by page retries after a failure do not reach the source", async (t) => {
  const { session, record } = await opened(t, {
    size: 4 * MIB,
    beforeRead: (at) => {
      if (at >= MIB && at < 2 * MIB) throw new DiskIoError("damaged");
    },
  });
  await session.request(read(10, MIB, MIB));
  const before = record.reads.length;
  for (let page = 0; page < 256; page++) await session.request(read(12 + 2 * page, MIB + page * 4096, 4096));
  const replies = await session.all();
  t.ok(replies.slice(1).every((reply) => reply.error === -5));
  t.equal(record.reads.length, before);
  t.equal((await session.last(read(9000, 0, 4096))).error, 0, "another block is read");
  t.equal(session.session.statistics.readErrors, 257);
});

void t.test("a request longer than our buffers is refused, never cut", async (t) => {
  const { session, record } = await opened(t, { size: 4 * MIB });
  t.equal((await session.last(read(10, 0, 2 * MIB))).error, -5);
  t.equal(record.reads.length, 0);
});

void t.test("an interrupted read of a dying reader is answered EINTR at once, and only once", async (t) => {
  const gates = new Gates();
  const { session } = await opened(t, { size: MIB, beforeRead: gates.beforeRead });
  await session.request(read(10, 0, 4096));
  const reply = await session.last(interrupt(10));
  t.strictSame([reply.unique, reply.error], [10n, -4]);
  t.ok(gates.waiting[0]?.signal.aborted);
  gates.waiting[0]?.go();
  await turn();
  t.equal((await session.all()).length, 2, "OPEN and the interrupted READ");
  const unknown = await session.last(interrupt(4710));
  t.strictSame([unknown.unique, unknown.error], [4711n, -11], "unknown: EAGAIN, so that the kernel repeats it");
});

void t.test("a READ that the kernel sends again is answered under the number it now has", async (t) => {
  const data = pattern(MIB, 3);
  const { session } = await opened(t, { size: 2 * MIB, extents: [{ at: 0, data }] });
  for (const size of [4096, MIB]) {
    await session.request(read(resent(10), 0, size));
    await session.session.replies.settled();
    const reply = await session.lastReply();
    t.strictSame([reply.unique, reply.error], [0x8000_0000_0000_000an, 0], "all 64 bits");
    t.strictSame(Buffer.from(reply.body), Buffer.from(data.subarray(0, size)), `${size} bytes`);
  }
  const failed = await session.last(read(resent(12), 0, 2 * MIB));
  t.strictSame([failed.unique, failed.error], [resent(12), -5], "a failure as well");
});

void t.test("a READ sent again is another than the first one, for answers and for interrupts", async (t) => {
  const gates = new Gates();
  const { session } = await opened(t, { size: MIB, beforeRead: gates.beforeRead });
  await session.request(read(10, 0, 4096));
  await session.request(read(resent(10), 0, 4096));
  t.equal(session.session.statistics.readsInFlight, 2);
  const freed = await session.last(interrupt(resent(10)));
  t.strictSame([freed.unique, freed.error], [resent(10), -4], "the reader is freed by the number the kernel knows");
  t.strictSame(
    gates.waiting.map(({ signal }) => signal.aborted),
    [false, true],
  );
  gates.waiting[1]?.go(new Error("stopped"));
  gates.waiting[0]?.go();
  const first = await session.lastReply();
  t.strictSame([first.unique, first.error], [10n, 0]);
  const late = await session.last(interrupt(resent(10)));
  t.strictSame([late.unique, late.error], [resent(10) | 1n, -11], "it is over: EAGAIN, under the interrupt's number");
  t.equal((await session.all()).length, 4, "OPEN, both READs, and the late interrupt");
  t.equal(session.session.statistics.readsInFlight, 0);
});

void t.test("a reader that lives through a signal waits for its data, one that dies later is freed then", async (t) => {
  const gates = new Gates();
  let dies = false;
  let looks = 0;
  const isDying = (): Promise<boolean> => {
    looks++;
    return Promise.resolve(dies);
  };
  const { session } = await opened(t, { size: MIB, beforeRead: gates.beforeRead }, { isDying });
  await session.request(read(10, 0, 4096));
  await session.request(read(12, 8192, 4096));
  await session.request(interrupt(10));
  await session.request(interrupt(10));
  await session.request(interrupt(12));
  t.equal((await session.all()).length, 1, "only OPEN is answered");
  t.equal(looks, 2, "one watch per read");
  gates.waiting[0]?.go();
  t.equal((await session.last(read(14, 0, 0))).error, 0);
  await session.session.replies.settled();
  t.ok(
    (await session.all()).some((reply) => reply.unique === 10n && reply.error === 0),
    "the first one gets its data",
  );
  dies = true;
  while (!(await session.all()).some((reply) => reply.unique === 12n)) await turn();
  t.equal((await session.all()).find((reply) => reply.unique === 12n)?.error, -4, "the second one dies");
});

void t.test("reads beyond 64 MiB in service wait in line and then run, interrupted ones not at all", async (t) => {
  const gates = new Gates();
  const { session, record } = await opened(t, { size: 100 * MIB, beforeRead: gates.beforeRead });
  for (let index = 0; index < 70; index++) await session.request(read(10 + 2 * index, index * MIB, MIB));
  t.equal(gates.waiting.length, 64);
  t.equal((await session.last(interrupt(10 + 2 * 64))).error, -4);
  for (let index = 0; index < 10; index++) gates.waiting[index]?.go();
  await session.all();
  await session.session.replies.settled();
  await turn();
  t.equal(record.reads.length, 69);
  t.notOk(record.reads.some((entry) => entry.at === 64 * MIB));
});

void t.test("a file is released after its last read, even one that nobody waits for any more", async (t) => {
  const gates = new Gates();
  const { session, record } = await opened(t, { size: MIB, beforeRead: gates.beforeRead });
  await session.request(read(10, 0, 4096));
  await session.request(interrupt(10));
  const body = new Uint8Array(24);
  body[0] = 1;
  t.equal((await session.last(request(18, 12, DISK, body))).error, 0);
  t.equal(record.released, 0);
  gates.waiting[0]?.go(new Error("stopped"));
  await turn();
  t.equal(record.released, 1);
});

void t.test("when the connection ends, reads are told to stop and nothing is written any more", async (t) => {
  const gates = new Gates();
  const { session, record } = await opened(t, { size: 4 * MIB, beforeRead: gates.beforeRead });
  await session.request(read(10, 0, MIB));
  const before = (await session.all()).length;
  session.session.end();
  await session.session.replies.close();
  t.match(gates.waiting[0]?.signal.reason, { name: "CancelledError" });
  gates.waiting[0]?.go();
  await turn();
  t.equal((await session.all()).length, before);
  t.equal(record.released, 1);
});
