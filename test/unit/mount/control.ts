import { once } from "node:events";
import { existsSync, statSync } from "node:fs";
import { connect, createServer, type Socket } from "node:net";
import { join } from "node:path";
import t, { type Test } from "tap";
import { BusyError, IntegrityError, RemoteError, UnreachableError } from "../../../src/errors.js";
import { askStatus, askUmount } from "../../../src/mount/control-client.js";
import { type ControlHandler, ControlServer } from "../../../src/mount/control-server.js";
import { recordingLogger } from "../../fixtures/recording-logger.js";
import { scratch } from "../../fixtures/scratch.js";
import { sessionStatus } from "../../fixtures/mount/session-status.js";

const QUIET = { force: false, onProgress: (): void => undefined };
/** Bounds that a test can wait for, and that a busy machine does not reach by accident. */
const PATIENT = { requestWaitMs: 30_000, goodbyeWaitMs: 30_000 };

async function listening(t: Test, handle: ControlHandler, limits = PATIENT) {
  const path = join(scratch(t), "control.sock");
  const { logger, lines } = recordingLogger();
  const server = await ControlServer.listen(path, handle, logger, limits);
  let closed: Promise<void> | undefined;
  const close = (): Promise<void> => (closed ??= server[Symbol.asyncDispose]());
  t.teardown(close);
  return { path, lines, close };
}

/** A client without manners: what it sends and gets is up to the test. */
async function rawClient(t: Test, path: string): Promise<{ socket: Socket; heard: Promise<string> }> {
  const socket = connect(path);
  t.teardown(() => socket.destroy());
  let text = "";
  socket.on("data", (chunk: Buffer) => (text += chunk.toString()));
  socket.on("error", () => undefined);
  await once(socket, "connect");
  const heard = once(socket, "close").then(() => text);
  return { socket, heard };
}

void t.test("askStatus() gives the daemon's status, of any size", async (t) => {
  const disk = sessionStatus().disks[0]!;
  const status = sessionStatus({
    disks: Array.from({ length: 5000 }, (_, i) => ({ ...disk, label: `Hard disk ${i}` })),
  });
  const { path } = await listening(t, (request, send) => {
    t.strictSame(request, { op: "status" });
    send({ type: "status", status });
    return Promise.resolve();
  });
  t.strictSame(await askStatus(path), status);
});

void t.test("askUmount() reports progress and gives the last word", async (t) => {
  const { path } = await listening(t, (request, send) => {
    t.strictSame(request, { op: "umount", force: true });
    send({ type: "progress", what: "Removing", percent: 10 });
    send({ type: "progress", what: "Removing" });
    send({ type: "done", message: "Unmounted" });
    return Promise.resolve();
  });
  const seen: unknown[] = [];
  const message = await askUmount(path, { force: true, onProgress: (...args) => seen.push(args) });
  t.equal(message, "Unmounted");
  t.strictSame(seen, [
    ["Removing", 10],
    ["Removing", undefined],
  ]);
});

void t.test("a failure of the daemon reaches the client with class, exit code and hint", async (t) => {
  const { path, lines } = await listening(t, () => Promise.reject(new BusyError("It is in use", { hint: "Wait" })));
  const error = await askUmount(path, QUIET).catch((error: unknown) => error);
  t.ok(error instanceof RemoteError);
  t.match(error, { name: "BusyError", message: "It is in use", hint: "Wait", exitCode: 73, exit: "busy" });
  t.match(lines, [{ level: "debug", message: /It is in use/ }]);
});

void t.test("the socket is for its owner only, replaces a stale one, and goes with the server", async (t) => {
  const first = await listening(t, () => Promise.resolve());
  t.equal(statSync(first.path).mode & 0o777, 0o600);
  const { logger } = recordingLogger();
  const second = await ControlServer.listen(
    first.path,
    (_, send) => {
      send({ type: "status", status: sessionStatus() });
      return Promise.resolve();
    },
    logger,
  );
  t.match(await askStatus(first.path), { session: "k3v9q2m7xa" });
  await second[Symbol.asyncDispose]();
  t.notOk(existsSync(first.path));
});

void t.test("a server that cannot listen says so", async (t) => {
  const { logger } = recordingLogger();
  const path = join(scratch(t), "missing", "control.sock");
  await t.rejects(
    ControlServer.listen(path, () => Promise.resolve(), logger),
    { name: "ConfigError", message: /^Cannot listen at .*control\.sock"/, hint: /runtime\.dir/ },
  );
});

void t.test("requests that are no requests are answered with an error", async (t) => {
  const asked: unknown[] = [];
  const { path } = await listening(t, (request) => {
    asked.push(request);
    return Promise.resolve();
  });
  const cases: [sent: string | Buffer, kind: string][] = [
    ["hello\n", "IntegrityError"],
    ["\n", "IntegrityError"],
    ["null\n", "UsageError"],
    ['{"op":"format"}\n', "UsageError"],
    ['{"op":"umount"}\n', "UsageError"],
    ['{"op":"umount","force":"yes"}\n', "UsageError"],
    [Buffer.from([0xff, 0xfe, 0x00, 0x0a]), "IntegrityError"],
    [`{"op":"status","x":"${"x".repeat(5000)}"}\n`, "IntegrityError"],
    ["x".repeat(100_000), "IntegrityError"],
  ];
  for (const [sent, kind] of cases) {
    const { socket, heard } = await rawClient(t, path);
    socket.write(sent);
    const answer = JSON.parse(await heard) as { type: string; error: { kind: string } };
    t.equal(answer.type, "failed");
    t.equal(answer.error.kind, kind, JSON.stringify(sent.toString().slice(0, 40)));
  }
  t.strictSame(asked, []);
});

void t.test("a request in pieces is one request; what follows it is not read", async (t) => {
  const asked: unknown[] = [];
  const { path } = await listening(t, (request, send) => {
    asked.push(request);
    send({ type: "done", message: "ok" });
    return Promise.resolve();
  });
  const { socket, heard } = await rawClient(t, path);
  for (const piece of ['{"op":"umo', 'unt","for', 'ce":false}\n']) socket.write(piece);
  t.equal(await heard, '{"type":"done","message":"ok"}\n');
  const next = await rawClient(t, path);
  next.socket.write('{"op":"status"}\n{"op":"umount","force":true}\n');
  t.equal(await next.heard, '{"type":"done","message":"ok"}\n');
  t.strictSame(asked, [{ op: "umount", force: false }, { op: "status" }]);
});

void t.test("a client that leaves does not stop what it asked for", async (t) => {
  let finish = (): void => undefined;
  const mayEnd = new Promise<void>((resolve) => (finish = resolve));
  let started = (): void => undefined;
  const hasStarted = new Promise<void>((resolve) => (started = resolve));
  let ended = (): void => undefined;
  const hasEnded = new Promise<void>((resolve) => (ended = resolve));
  const { path } = await listening(t, async (_request, send) => {
    started();
    await mayEnd;
    send({ type: "done", message: "nobody hears this" });
    ended();
  });
  const { socket, heard } = await rawClient(t, path);
  socket.write('{"op":"umount","force":false}\n');
  await hasStarted;
  socket.destroy();
  await heard;
  finish();
  await hasEnded;
  t.pass("the handler went on to its end");
});

void t.test("several clients at once get their own answers", async (t) => {
  let waiting = 0;
  let open = (): void => undefined;
  const gate = new Promise<void>((resolve) => (open = resolve));
  const { path } = await listening(t, async (request, send) => {
    if (++waiting === 8) open();
    await gate;
    if (request.op === "status") send({ type: "status", status: sessionStatus() });
    else send({ type: "done", message: "done" });
  });
  const answers = await Promise.all([
    ...Array.from({ length: 4 }, () => askStatus(path).then(({ session }) => session)),
    ...Array.from({ length: 4 }, () => askUmount(path, QUIET)),
  ]);
  t.strictSame(answers, [...Array<string>(4).fill("k3v9q2m7xa"), ...Array<string>(4).fill("done")]);
});

void t.test("clients that say nothing do not hold their place", async (t) => {
  const { path } = await listening(
    t,
    (_request, send) => {
      send({ type: "status", status: sessionStatus() });
      return Promise.resolve();
    },
    { requestWaitMs: 50, goodbyeWaitMs: 50 },
  );
  const silent = await Promise.all(Array.from({ length: 16 }, () => rawClient(t, path)));
  t.strictSame(await Promise.all(silent.map(({ heard }) => heard)), Array<string>(16).fill(""));
  t.match(await askStatus(path), { session: "k3v9q2m7xa" });
});

void t.test("nor do those that talk without end, before a request or after its answer", async (t) => {
  const limits = { requestWaitMs: 200, goodbyeWaitMs: 200 };
  const { path, close } = await listening(t, () => Promise.resolve(), limits);
  const talk = async (first: string): Promise<string> => {
    const { socket, heard } = await rawClient(t, path);
    socket.write(first);
    const talking = setInterval(() => socket.write(" "), 20);
    t.teardown(() => {
      clearInterval(talking);
    });
    return await heard;
  };
  const within = setTimeout(() => t.fail("the server waits for a client that talks"), 10_000);
  await Promise.all([talk(""), talk('{"op":"status"}\n')]);
  await close();
  clearTimeout(within);
});

void t.test("a client that says nothing hears nothing that would keep its place", async (t) => {
  const { path } = await listening(t, () => Promise.resolve(), { requestWaitMs: 6_000, goodbyeWaitMs: 50 });
  const { heard } = await rawClient(t, path);
  const late = new Promise((resolve) => setTimeout(resolve, 9_000, "still connected"));
  t.equal(await Promise.race([heard, late]), "");
});

void t.test("closing the server ends idle clients, and those that do not read", async (t) => {
  const big = sessionStatus({ log: "x".repeat(3_000_000) });
  let sent = (): void => undefined;
  const hasSent = new Promise<void>((resolve) => (sent = resolve));
  const { path, close } = await listening(
    t,
    (_request, send) => {
      send({ type: "status", status: big });
      sent();
      return Promise.resolve();
    },
    { requestWaitMs: 30_000, goodbyeWaitMs: 50 },
  );
  const idle = await rawClient(t, path);
  const deaf = connect(path);
  t.teardown(() => deaf.destroy());
  deaf.on("error", () => undefined);
  deaf.write('{"op":"status"}\n');
  await hasSent;
  await close();
  t.equal(await idle.heard, "");
  t.notOk(existsSync(path));
});

void t.test("closing the server lets a client read all that was sent to it", async (t) => {
  const status = sessionStatus({ log: "x".repeat(1_000_000) });
  let sent = (): void => undefined;
  const hasSent = new Promise<void>((resolve) => (sent = resolve));
  const { path, close } = await listening(t, (_request, send) => {
    send({ type: "status", status });
    sent();
    return new Promise(() => undefined);
  });
  const answer = askStatus(path);
  await hasSent;
  await Promise.all([close(), answer]);
  t.strictSame(await answer, status);
});

/** A daemon of another make. */
async function impostor(t: Test, serve: (socket: Socket) => void): Promise<string> {
  const path = join(scratch(t), "s");
  const server = createServer((socket) => {
    t.teardown(() => socket.destroy());
    socket.on("error", () => undefined);
    serve(socket);
  });
  t.teardown(() => server.close());
  server.listen(path);
  await once(server, "listening");
  return path;
}

void t.test("the client tells a daemon that is not there from one that goes away", async (t) => {
  await t.rejects(askStatus(join(scratch(t), "none")), { message: /ENOENT/, exit: "connect" });
  const path = await impostor(t, (socket) => {
    socket.once("data", () => socket.end());
  });
  await t.rejects(askStatus(path), UnreachableError);
  await t.rejects(askStatus(path), { message: /hung up without an answer/ });
  await t.rejects(askUmount(path, QUIET), { message: /went away/, hint: /journal/ });
  const dying = await impostor(t, (socket) => {
    socket.once("data", () => {
      socket.write('{"type":"progress","what":"Removing","percent":1}\n{"type":"do', () => socket.destroy());
    });
  });
  const seen: string[] = [];
  await t.rejects(askUmount(dying, { force: false, onProgress: (what) => seen.push(what) }), UnreachableError);
  t.strictSame(seen, ["Removing"]);
});

void t.test("the client understands its own version only", async (t) => {
  for (const answer of ['{"type":"greeting"}', '{"type":"status","status":{}}', "17"]) {
    const path = await impostor(t, (socket) => {
      socket.once("data", () => socket.write(`${answer}\n`));
    });
    await t.rejects(askStatus(path), IntegrityError);
  }
  const noisy = await impostor(t, (socket) => {
    socket.once("data", () => socket.write("<html>\n"));
  });
  await t.rejects(askStatus(noisy), IntegrityError);
});
