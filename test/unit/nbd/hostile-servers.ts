import t, { type Test } from "tap";
import { NbdSource } from "../../../src/nbd/nbd-source.js";
import { bytes } from "../../../src/units.js";
import {
  chunk,
  DISK_BYTES,
  optionReply,
  type Script,
  scriptedServer,
  u32,
  u64,
  type WireRequest,
} from "../../fixtures/nbd/scripted-server.js";
import { failureOf } from "../../fixtures/snapshot-session.js";

const { signal } = new AbortController();
const OPTIONS = { connectMs: 2_000, stallMs: 400, connectionsMax: 1, holes: "asked of the server" } as const;

async function open(t: Test, script: Script): Promise<NbdSource> {
  const source = await NbdSource.open(await scriptedServer(t, script), OPTIONS, signal);
  t.teardown(() => source[Symbol.asyncDispose]());
  return source;
}

/** Why the connection failed, below what the read says and what the request says. */
function reasonOf(error: unknown): unknown {
  return ((error as Error).cause as Error).cause;
}

const data = ({ cookie, offset, length }: WireRequest, byte: number, flags = 1): Buffer =>
  chunk(cookie, 1, Buffer.concat([u64(offset), Buffer.alloc(length, byte)]), flags);

void t.test("a negotiation that goes wrong says what and leaves nothing", async (t) => {
  const block = (minimum: number, maximum: number): Buffer =>
    optionReply(7, 3, Buffer.concat([Buffer.from([0, 3]), u32(minimum, minimum, maximum)]));
  const cases: Readonly<Record<string, [Script, RegExp]>> = {
    "a web server": [{ greeting: Buffer.from("HTTP/1.1 400 Bad Request\r\n\r\n") }, /it speaks no NBD/],
    "the protocol of 2005": [{ greeting: Buffer.concat([Buffer.from("NBDMAGIC"), Buffer.alloc(16)]) }, /no NBD/],
    "an answer to another option": [{ option: () => optionReply(99, 1) }, /answers option 99 where 8 was asked/],
    "an endless answer": [
      { option: (option) => optionReply(option, 1, Buffer.alloc(60_000)) },
      /answers option 8 with 60000 bytes/,
    ],
    "endless answers": [
      // NBD_INFO_NAME, which may come any number of times.
      {
        option: (option) =>
          option === 7
            ? Buffer.concat(Array<Buffer>(70).fill(optionReply(7, 3, Buffer.from("\0\x01disk"))))
            : undefined,
      },
      /more than 64 answers to option 7/,
    ],
    "no size": [{ option: (option) => (option === 7 ? optionReply(7, 1) : undefined) }, /does not tell the size/],
    "blocks of 3 bytes": [{ option: (option) => (option === 7 ? block(3, 4096) : undefined) }, /blocks of 3 to 4096/],
    "blocks of nothing": [{ option: (option) => (option === 7 ? block(0, 4096) : undefined) }, /blocks of 0 to/],
    "an error with a text": [
      { option: (option) => (option === 7 ? optionReply(7, 0x80000002, Buffer.from("go \u001b[31maway")) : undefined) },
      /does not allow it: the server says "go \\u001b\[31maway"/,
    ],
    "a size beyond numbers": [
      {
        option: (option) =>
          option === 7
            ? optionReply(7, 3, Buffer.concat([Buffer.alloc(2), u64(2n ** 60n), Buffer.alloc(2)]))
            : undefined,
      },
      /exceeds 2\^53/,
    ],
    silence: [{ option: () => Buffer.alloc(0) }, /does not finish the negotiation in 2 s/],
  };
  for (const [what, [script, message]] of Object.entries(cases)) {
    t.match(await failureOf(open(t, script)), { message }, what);
  }
});

void t.test("answers that were sent before TLS are none of the trusted server's", async (t) => {
  const target = await scriptedServer(t, {
    option: (option) => (option === 5 ? Buffer.concat([optionReply(5, 1), optionReply(8, 1)]) : undefined),
  });
  const opening = NbdSource.open({ ...target, tls: { serverName: "nbd.example" } }, OPTIONS, signal);
  t.match(await failureOf(opening), { name: "UnreachableError", message: /in plain text where TLS begins/ });
});

void t.test("an answer that does not fit its question ends the connection, never the buffer's borders", async (t) => {
  const cases: Readonly<Record<string, [(asked: WireRequest) => Buffer, RegExp]>> = {
    "no reply": [() => u32(1, 2, 3, 4, 5), /a reply begins with 0x1/],
    "an unknown cookie": [({ cookie }) => chunk(cookie + 7n, 0), /answers what nobody had asked/],
    "data before the start": [
      ({ cookie, length }) => chunk(cookie, 1, Buffer.concat([u64(0), Buffer.alloc(length)])),
      /sends 4096 bytes at 0 where it was to read 4096 bytes at 8192/,
    ],
    "too much data": [(asked) => data({ ...asked, length: asked.length + 1 }, 1), /sends 4097 bytes/],
    "too little data": [(asked) => data({ ...asked, length: 4095 }, 1), /sends 4095 bytes where/],
    "nothing at all": [({ cookie }) => chunk(cookie, 0), /sends 0 bytes where/],
    "everything twice": [
      (asked) => Buffer.concat([data(asked, 1, 0), data(asked, 2, 1)]),
      /4096 bytes from 0 .* twice/,
    ],
    "half twice, and the other half never": [
      (asked) => Buffer.concat([data({ ...asked, length: 2048 }, 1, 0), data({ ...asked, length: 2048 }, 2, 1)]),
      /2048 bytes from 0 of a read twice/,
    ],
    "a hole over data": [
      ({ cookie, offset, length }) =>
        Buffer.concat([
          data({ type: 0, cookie, offset: offset + 1000n, length: 100 }, 1, 0),
          chunk(cookie, 2, Buffer.concat([u64(offset), u32(length)])),
        ]),
      /4096 bytes from 0 of a read twice/,
    ],
    shreds: [
      (asked) =>
        Buffer.concat(
          Array.from({ length: 1025 }, (_, at) =>
            data({ ...asked, offset: asked.offset + BigInt(2 * at), length: 1 }, 1, 0),
          ),
        ),
      /more than 1024 parts/,
    ],
    "a hole of the wrong form": [({ cookie }) => chunk(cookie, 2, u32(1)), /a hole has 4 bytes/],
    "a hole that is too long": [
      ({ cookie, offset }) => chunk(cookie, 2, Buffer.concat([u64(offset), u32(4097)])),
      /sends 4097 bytes/,
    ],
    "an unknown chunk": [({ cookie }) => chunk(cookie, 77), /no chunk of type 77/],
    "a huge chunk": [({ cookie }) => chunk(cookie, 77, Buffer.alloc(700_000)), /type 77 has 700000 bytes/],
    "extents for a read": [({ cookie }) => chunk(cookie, 5, u32(5, 4096, 0)), /bytes of extents where/],
    "an error without a number": [({ cookie }) => chunk(cookie, 0x8001), /an error has 0 bytes/],
    "the simple form": [
      ({ cookie }) => Buffer.concat([u32(0x67446698, 0), u64(cookie), Buffer.alloc(4096)]),
      /answers a read in the simple form/,
    ],
  };
  for (const [what, [request, message]] of Object.entries(cases)) {
    const source = await open(t, { request });
    const around = new Uint8Array(3 * 4096).fill(0x5a);
    const error = await failureOf(source.read(around.subarray(4096, 8192), bytes(8192), { signal }));
    t.match(error, { name: "DiskIoError", retryable: true }, what);
    t.match(reasonOf(error), { message }, what);
    const outside = [...around.subarray(0, 4096), ...around.subarray(8192)];
    t.equal(
      outside.every((byte) => byte === 0x5a),
      true,
      what,
    );
  }
});

void t.test("errors of the server keep their meaning", async (t) => {
  const error = (cookie: bigint, number: number, text: string): Buffer =>
    chunk(cookie, 0x8001, Buffer.concat([u32(number), Buffer.from([0, text.length]), Buffer.from(text)]));
  const cases = [
    [5, true, /an I\/O error \("disk is ill"\)/],
    [12, true, /no memory left/],
    [22, false, /for invalid/],
    [1, false, /not permitted/],
    [0, true, /an I\/O error/],
    [4711, false, /error 4711/],
  ] as const;
  for (const [number, retryable, message] of cases) {
    const source = await open(t, { request: ({ cookie }) => error(cookie, number, "disk is ill") });
    t.match(await failureOf(source.read(new Uint8Array(512), bytes(0), { signal })), { retryable, message });
  }
});

void t.test("a reply in pieces, out of order, with holes and one byte at a time", async (t) => {
  const asked: WireRequest[] = [];
  const source = await open(t, {
    request: (one, socket) => {
      asked.push(one);
      if (asked.length < 2) return undefined;
      const [first, second] = asked as [WireRequest, WireRequest];
      const half = { ...first, length: 2048 };
      const rest = { ...first, offset: first.offset + 2048n, length: 2048 };
      const answer = Buffer.concat([
        data(rest, 2, 0),
        chunk(second.cookie, 2, Buffer.concat([u64(second.offset), u32(4096)])),
        data(half, 1, 0),
        chunk(first.cookie, 0),
      ]);
      for (const byte of answer) socket.write(Buffer.from([byte]));
      return undefined;
    },
  });
  const [one, two] = [new Uint8Array(4096), new Uint8Array(4096).fill(9)];
  await Promise.all([source.read(one, bytes(0), { signal }), source.read(two, bytes(65_536), { signal })]);
  t.same(one, Buffer.concat([Buffer.alloc(2048, 1), Buffer.alloc(2048, 2)]));
  t.same(two, Buffer.alloc(4096));
});

void t.test(
  "a server that goes silent is left after the stall time, one that says nothing unasked is not",
  async (t) => {
    const source = await open(t, { request: () => undefined });
    const began = performance.now();
    const error = await failureOf(source.read(new Uint8Array(512), bytes(0), { signal }));
    t.match(error, { retryable: true });
    t.match(reasonOf(error), { message: /no sign of the server for 0\.4 s/ });
    t.ok(performance.now() - began < 5_000);
    const idle = await open(t, { request: (asked) => data(asked, 3) });
    await new Promise((resolve) => setTimeout(resolve, 1_000));
    await idle.read(new Uint8Array(512), bytes(0), { signal });
  },
);

void t.test("a server that goes silent is left, however many reads are given up and sent again", async (t) => {
  const source = await open(t, { request: () => undefined });
  const repeated = setInterval(() => {
    void source.read(new Uint8Array(512), bytes(0), { signal: AbortSignal.timeout(100) }).catch(() => undefined);
  }, 150);
  t.teardown(() => {
    clearInterval(repeated);
  });
  const late = AbortSignal.timeout(3_000);
  const error = await failureOf(source.read(new Uint8Array(512), bytes(0), { signal: late }));
  t.match(error, { retryable: true });
  t.match(reasonOf(error), { message: /no sign of the server for 0\.4 s/ });
});

void t.test("a read that is given up leaves the connection to the others", async (t) => {
  let answer: (() => void) | undefined;
  let connections = 0;
  const source = await open(t, {
    option: (option) => {
      if (option === 8) connections++;
      return undefined;
    },
    request: (asked, socket) => {
      if (asked.offset !== 0n) return data(asked, 3);
      // Half of it arrives before the reader gives up, half after.
      const whole = data(asked, 1);
      socket.write(whole.subarray(0, 1000));
      answer = () => socket.write(whole.subarray(1000));
      return undefined;
    },
  });
  const giveUp = new AbortController();
  const into = new Uint8Array(4096);
  const given = source.read(into, bytes(0), { signal: giveUp.signal });
  await new Promise((resolve) => setTimeout(resolve, 100));
  giveUp.abort(new Error("enough"));
  t.match(await failureOf(given), { message: "enough" });
  const then = into.slice();
  answer?.();
  const other = new Uint8Array(512);
  await source.read(other, bytes(512), { signal });
  t.equal(other[0], 3);
  t.same(into, then, "nothing is written into it any more");
  t.equal(connections, 1);
});

void t.test("extents: several questions, clipped to what was asked, zeros by their flag", async (t) => {
  const stretch = 256 * 1024;
  const source = await open(t, {
    // Up to the next border of 256 KiB, and the last one twice as long as the disk.
    request: ({ cookie, offset, length }) => {
      const index = Math.floor(Number(offset) / stretch);
      const rest = (index + 1) * stretch - Number(offset);
      return chunk(cookie, 5, u32(5, index < 3 ? rest : 2 * length, index % 2 === 0 ? 0 : 3));
    },
  });
  const extents = [];
  for await (const extent of source.extents!(bytes(1000), bytes(DISK_BYTES - 1000), { signal })) extents.push(extent);
  t.strictSame(extents, [
    { kind: "data", start: 1000, length: 261_144 },
    { kind: "hole", start: 262_144, length: 262_144 },
    { kind: "data", start: 524_288, length: 262_144 },
    { kind: "hole", start: 786_432, length: 262_144 },
  ]);
  const broken = await open(t, { request: ({ cookie }) => chunk(cookie, 5, u32(5, 0, 0)) });
  const first = broken.extents!(bytes(0), broken.size, { signal })[Symbol.asyncIterator]();
  t.match(await failureOf(Promise.resolve(first.next())), { retryable: true });
});
