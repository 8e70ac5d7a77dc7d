import { once } from "node:events";
import { type AddressInfo, createServer as createTcpServer, type Socket } from "node:net";
import { connect, createServer, type TLSSocket } from "node:tls";
import { setTimeout as sleep } from "node:timers/promises";
import fc from "fast-check";
import t, { type Test } from "tap";
import type { HttpAnswer } from "../../../src/https/http-exchange.js";
import { DataConnections } from "../../../src/https/data-connections.js";
import { HttpClient } from "../../../src/https/http-client.js";
import { VSPHERE_LIMITS } from "../../../src/vsphere/limits.js";
import { trustingConnector, type TrustingConnector } from "../../../src/https/tls.js";
import { parseServerUrl } from "../../../src/vsphere/server-url.js";
import { patternBytes } from "../../fixtures/block/memory.js";
import { holds } from "../../fixtures/property.js";
import { selfSigned } from "../../fixtures/self-signed.js";

const CONTENT = patternBytes(200_000);

interface Asked {
  readonly from: number;
  readonly last: number;
  /** The how-manieth request of the server, from 1. */
  readonly number: number;
  readonly socket: TLSSocket;
}

const range = ({ from, last }: Asked): Buffer =>
  Buffer.concat([
    Buffer.from(`HTTP/1.1 206 Partial Content\r\ncontent-length: ${last + 1 - from}\r\nx: y\r\n\r\n`),
    CONTENT.subarray(from, last + 1),
  ]);

/** A server that answers bytes, not HTTP: what it says and how it cuts it is the test's choice. */
async function serve(t: Test, answer: (asked: Asked) => void, limits: Partial<typeof VSPHERE_LIMITS> = {}) {
  const sockets = new Set<TLSSocket>();
  const seen = { connections: 0, requests: 0 };
  const server = createServer(selfSigned(), (socket) => {
    seen.connections++;
    sockets.add(socket);
    let text = "";
    socket.on("error", () => undefined);
    socket.on("close", () => sockets.delete(socket));
    socket.on("data", (chunk: Buffer) => {
      text += chunk.toString("latin1");
      for (let end = text.indexOf("\r\n\r\n"); end >= 0; end = text.indexOf("\r\n\r\n")) {
        const [, from, last] = /range: bytes=(\d+)-(\d+)/.exec(text.slice(0, end)) ?? [];
        text = text.slice(end + 4);
        answer({ from: Number(from), last: Number(last), number: ++seen.requests, socket });
      }
    });
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  const url = `https://127.0.0.1:${port}`;
  const client = new HttpClient(parseServerUrl(url), { insecure: true }, { ...VSPHERE_LIMITS, ...limits });
  t.teardown(async () => {
    await client[Symbol.asyncDispose]();
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  const get = (
    from: number,
    length: number,
    options: { signal?: AbortSignal; stallMs?: number; into?: Uint8Array } = {},
  ) => {
    const into = options.into ?? new Uint8Array(length);
    const answered = client.request({
      lane: "data",
      method: "GET",
      path: "/folder/disk?dcPath=dc&dsName=ds",
      headers: { range: `bytes=${from}-${from + length - 1}`, cookie: "a=b" },
      signal: options.signal ?? new AbortController().signal,
      stallMs: options.stallMs ?? 10_000,
      bodyBytesMax: 1000,
      target: (status) => (status === 206 ? into : undefined),
    });
    return { into, answered };
  };
  const read = async (from: number, length: number): Promise<boolean> => {
    const { into, answered } = get(from, length);
    const { filled } = await answered;
    return filled === length && Buffer.compare(into, CONTENT.subarray(from, from + length)) === 0;
  };
  return { seen, sockets, get, read, client, port };
}

void t.test("ranges come whole over few connections that stay", async (t) => {
  const { read, seen } = await serve(t, (asked) => asked.socket.write(range(asked)), { dataConnectionsMax: 3 });
  const many = await Promise.all(Array.from({ length: 30 }, (_, index) => read(index * 5000, 4000 + index)));
  t.notOk(many.includes(false));
  t.ok(await read(0, CONTENT.length), "more than one buffer");
  t.equal(seen.connections, 3);
});

void t.test("however the network cuts it", async (t) => {
  const cuts: { sizes: number[] } = { sizes: [] };
  const { read } = await serve(t, (asked) => {
    const bytes = Buffer.concat([Buffer.from("HTTP/1.1 100 Continue\r\n\r\n"), range(asked)]);
    let at = 0;
    for (const size of cuts.sizes) {
      asked.socket.write(bytes.subarray(at, at + size));
      at += size;
    }
    asked.socket.write(bytes.subarray(at));
  });
  const property = fc.asyncProperty(
    fc.array(fc.integer({ min: 1, max: 60 }), { maxLength: 30 }),
    fc.nat(CONTENT.length - 1),
    fc.integer({ min: 1, max: 3000 }),
    async (sizes, from, length) => {
      cuts.sizes = sizes;
      return read(from, Math.min(length, CONTENT.length - from));
    },
  );
  await holds(t, property, { runs: 100 });
});

void t.test("a page without a range goes into the answer, and the connection goes on", async (t) => {
  const { get, read, seen } = await serve(t, (asked) => {
    asked.socket.write(asked.number === 1 ? "HTTP/1.1 503 Busy\r\ncontent-length: 4\r\n\r\nbusy" : range(asked));
  });
  const answer: HttpAnswer = await get(0, 10).answered;
  t.equal(answer.status, 503);
  t.equal(Buffer.from(answer.body).toString(), "busy");
  t.ok(await read(0, 10));
  t.equal(seen.connections, 1);
});

/** As some servers and most proxies send pages that they make up on the way. */
function chunked(body: Uint8Array, sizes: readonly number[]): Buffer {
  const parts: Buffer[] = [];
  let at = 0;
  for (const size of [...sizes, body.length]) {
    const piece = body.subarray(at, at + size);
    if (piece.length > 0)
      parts.push(Buffer.from(`${piece.length.toString(16)};x=y\r\n`), Buffer.from(piece), Buffer.from("\r\n"));
    at += size;
  }
  return Buffer.concat([...parts, Buffer.from("0\r\ntrailer: x\r\n\r\n")]);
}

void t.test("a body in chunks, cut anywhere", async (t) => {
  const now: { sizes: number[]; cuts: number[] } = { sizes: [], cuts: [] };
  const { read, seen } = await serve(t, ({ from, last, socket }) => {
    const body = chunked(CONTENT.subarray(from, last + 1), now.sizes);
    const bytes = Buffer.concat([Buffer.from("HTTP/1.1 206 x\r\ntransfer-encoding: chunked\r\n\r\n"), body]);
    let at = 0;
    for (const size of now.cuts) {
      socket.write(bytes.subarray(at, at + size));
      at += size;
    }
    socket.write(bytes.subarray(at));
  });
  const some = fc.array(fc.integer({ min: 1, max: 50 }), { maxLength: 20 });
  const property = fc.asyncProperty(
    some,
    some,
    fc.nat(1000),
    fc.integer({ min: 1, max: 900 }),
    async (sizes, cuts, from, length) => {
      Object.assign(now, { sizes, cuts });
      return read(from, length);
    },
  );
  await holds(t, property, { runs: 60 });
  t.equal(seen.connections, 1);
});

void t.test("a body that ends with the connection", async (t) => {
  const { get, read } = await serve(t, (asked) => {
    if (asked.number === 1) asked.socket.end("HTTP/1.0 500 x\r\n\r\nlocked");
    else asked.socket.write(range(asked));
  });
  const { status, body } = await get(0, 10).answered;
  t.equal(status, 500);
  t.equal(Buffer.from(body).toString(), "locked");
  t.ok(await read(0, 10));
});

void t.test("a connection that was closed while it rested costs nothing but another one", async (t) => {
  const { read, seen, sockets } = await serve(t, (asked) => asked.socket.write(range(asked)));
  t.ok(await read(0, 1000));
  for (const socket of sockets) socket.destroy();
  t.ok(await read(0, 1000));
  t.equal(seen.connections, 2);
});

void t.test("a server that takes a request and closes is asked once more, then it is a failure", async (t) => {
  const { read, get, seen } = await serve(t, (asked) => {
    if (asked.number === 1) asked.socket.write(range(asked));
    else asked.socket.destroy();
  });
  t.ok(await read(0, 1000));
  await t.rejects(get(0, 10).answered, { name: "UnreachableError", retryable: true });
  t.equal(seen.requests, 3);
  await t.rejects(get(0, 10).answered, { name: "UnreachableError" }, "on a fresh connection at once");
  t.equal(seen.requests, 4);
});

void t.test("an answer that breaks off is a failure that may pass", async (t) => {
  const { get, read } = await serve(t, (asked) => {
    const bytes = range(asked);
    if (asked.number === 1) asked.socket.end(bytes.subarray(0, bytes.length - 1));
    else asked.socket.write(bytes);
  });
  await t.rejects(get(0, 1000).answered, { name: "UnreachableError", retryable: true });
  t.ok(await read(0, 1000));
});

void t.test("hostile answers end in an error, never in bytes", async (t) => {
  const hostile: Readonly<Record<string, (asked: Asked) => string | Buffer>> = {
    "no HTTP": () => "SSH-2.0-x\r\n\r\n",
    "an endless head": () => `HTTP/1.1 206 x\r\n${"x: y\r\n".repeat(4000)}`,
    "an endless head without lines": () => "H".repeat(20_000),
    "blanks and a NUL": () => `HTTP/1.1 206 x\r\na:${" ".repeat(16_000)}\0\r\n\r\n`,
    "two lengths": () => "HTTP/1.1 206 x\r\ncontent-length: 10\r\ncontent-length: 11\r\n\r\n0123456789",
    "a chunk without a size": () => "HTTP/1.1 206 x\r\ntransfer-encoding: chunked\r\n\r\nhello\r\n",
    "a chunk longer than it says": () => "HTTP/1.1 206 x\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhello\r\n",
    "an endless chunk line": () => `HTTP/1.1 206 x\r\ntransfer-encoding: chunked\r\n\r\n${"1".repeat(20_000)}`,
    "more than the range": () => "HTTP/1.1 206 x\r\ncontent-length: 11\r\n\r\n0123456789X",
    "a page without end": () => "HTTP/1.1 500 x\r\ncontent-length: 999999999\r\n\r\n" + "x".repeat(5000),
    "an answer that was not asked for": (asked) => Buffer.concat([range(asked), range(asked)]),
  };
  for (const [what, bytes] of Object.entries(hostile)) {
    const { get } = await serve(t, (asked) => asked.socket.write(bytes(asked)));
    const { into, answered } = get(0, 10);
    const outcome = await answered.then(
      () => "read",
      (error: unknown) => (error as Error).name,
    );
    if (what === "an answer that was not asked for") {
      // The first one is right; the second one must not become the answer to the next request.
      t.equal(outcome, "read", what);
      const next = get(50, 10);
      await next.answered.catch(() => undefined);
      t.notSame([...next.into], [...CONTENT.subarray(0, 10)], what);
    } else {
      t.equal(outcome, "IntegrityError", what);
      t.ok(into.length === 10);
    }
  }
});

void t.test("silence ends, before the answer and within it", async (t) => {
  const { get } = await serve(t, (asked) => {
    if (asked.number === 2) asked.socket.write(range(asked).subarray(0, 60));
  });
  await t.rejects(get(0, 1000, { stallMs: 100 }).answered, { message: /no answer in time/ });
  await t.rejects(get(0, 1000, { stallMs: 100 }).answered, { message: /stopped half-way/ });
});

void t.test("who gives up gets his buffer back, queued or under way", async (t) => {
  const held: Asked[] = [];
  const { get, read, seen } = await serve(t, (asked) => held.push(asked), { dataConnectionsMax: 1 });
  const leaving = new AbortController();
  const under = get(0, 1000, { signal: leaving.signal });
  const queued = get(0, 1000, { signal: leaving.signal });
  const staying = read(500, 1000);
  while (held.length === 0) await sleep(5);
  leaving.abort(new Error("gave up"));
  await t.rejects(under.answered, { message: "gave up" });
  await t.rejects(queued.answered, { message: "gave up" });
  const [first] = held;
  if (first !== undefined) first.socket.write(range(first));
  while (held.length < 2) await sleep(5);
  const second = held[1];
  if (second !== undefined) second.socket.write(range(second));
  t.ok(await staying);
  t.ok(
    under.into.every((byte) => byte === 0),
    "nothing was written after the end",
  );
  t.equal(seen.requests, 2, "the queued one was never sent");
});

void t.test("a server that cannot be reached, and a client that is closed", async (t) => {
  const { get, client } = await serve(t, () => undefined);
  const waiting = get(0, 10).answered;
  const expected = t.rejects(waiting, { name: "UnreachableError" });
  await sleep(50);
  await client[Symbol.asyncDispose]();
  await expected;
  await t.rejects(get(0, 10).answered, { name: "UnreachableError" });
  const nowhere = new HttpClient(parseServerUrl("https://127.0.0.1:1"), { insecure: true }, VSPHERE_LIMITS);
  const failing = Array.from({ length: 20 }, () =>
    t.rejects(
      nowhere.request({
        lane: "data",
        method: "GET",
        path: "/",
        headers: {},
        signal: new AbortController().signal,
        stallMs: 1000,
        bodyBytesMax: 10,
        target: () => undefined,
      }),
      { message: /connection refused/ },
    ),
  );
  await Promise.all(failing);
  await nowhere[Symbol.asyncDispose]();
});

void t.test("a header that would become two is refused", async (t) => {
  const { client } = await serve(t, () => undefined);
  const request = (path: string, headers: Record<string, string>) =>
    client.request({
      lane: "data",
      method: "GET",
      path,
      headers,
      signal: new AbortController().signal,
      stallMs: 1000,
      bodyBytesMax: 10,
      target: () => undefined,
    });
  await t.rejects(request("/a b", {}), TypeError);
  await t.rejects(request("/", { cookie: "a\r\nx: y" }), TypeError);
});

/** A handler, and what came of it. */
function outcomeOf(data: DataConnections): Promise<string> {
  const outcome = new Promise<string>((resolve) => {
    const handler = {
      onRequestStart: (): void => undefined,
      onResponseStart: (): void => undefined,
      onResponseData: (): void => undefined,
      onResponseEnd: (): void => {
        resolve("end");
      },
      onResponseError: (): void => {
        resolve("error");
      },
    };
    data.dispatch({ path: "/", headers: {}, stallMs: 100, handler });
  });
  return Promise.race([outcome, sleep(2000, "hangs")]);
}

void t.test("a connection that is gone before it is handed over carries no request", async (t) => {
  const { port } = await serve(t, () => undefined);
  for (const when of ["destroyed", "sent before it was asked"]) {
    const sockets: TLSSocket[] = [];
    const connector: TrustingConnector = (_, opened, onread) => {
      const socket = connect({ host: "127.0.0.1", port, rejectUnauthorized: false });
      sockets.push(socket);
      socket.on("error", () => undefined);
      socket.once("secureConnect", () => {
        const isFirst = socket === sockets[0];
        if (isFirst && when === "destroyed") socket.destroy();
        else if (isFirst) onread?.callback(3, onread.buffer);
        opened(null, socket);
      });
      return () => socket.destroy();
    };
    const data = new DataConnections(`https://127.0.0.1:${port}`, connector, 1);
    t.equal(await outcomeOf(data), "error", when);
    data.destroy();
    await sleep(20);
    t.ok(
      sockets.every(({ destroyed }) => destroyed),
      "no socket is left",
    );
  }
});

void t.test("closing the client ends connections that are being opened", async (t) => {
  const accepted: Socket[] = [];
  const silent = createTcpServer((socket) => {
    accepted.push(socket);
    socket.on("error", () => undefined).resume();
  }).listen(0, "127.0.0.1");
  await once(silent, "listening");
  const { port } = silent.address() as AddressInfo;
  const data = new DataConnections(`https://127.0.0.1:${port}`, trustingConnector({ insecure: true }, 60_000), 1);
  const outcome = outcomeOf(data);
  while (accepted.length === 0) await sleep(5);
  data.destroy();
  t.equal(await outcome, "error");
  while (accepted[0]?.closed === false) await sleep(5);
  silent.close();
});
