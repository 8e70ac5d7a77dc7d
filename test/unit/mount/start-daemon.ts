import { existsSync, readFileSync, watch } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import t, { type Test } from "tap";
import { CancelledError, RemoteError } from "../../../src/errors.js";
import { silentLogger } from "../../../src/log.js";
import { startDaemon, type StartOptions } from "../../../src/mount/start-daemon.js";
import { mountRequest } from "../../fixtures/mount/mount-request.js";
import { scratch } from "../../fixtures/scratch.js";
import { failureOf } from "../../fixtures/snapshot-session.js";

const PROGRAM = fileURLToPath(new URL("../../fixtures/programs/daemon.ts", import.meta.url));
const { signal: never } = new AbortController();

function starting(t: Test, behaviour: string, own: Partial<StartOptions> = {}, session = "k3v9q2m7xa") {
  const notes = scratch(t);
  const logs: string[] = [];
  const progress: unknown[] = [];
  const request = mountRequest({ session, mountPoint: notes, locator: { form: { kind: "any" }, text: behaviour } });
  const options: StartOptions = {
    program: PROGRAM,
    logger: silentLogger(),
    onLog: (line) => logs.push(line),
    onProgress: (what, percent) => progress.push([what, percent]),
    signal: never,
    ...own,
  };
  const read = (name: string): unknown => JSON.parse(readFileSync(join(notes, name), "utf8"));
  return { notes, logs, progress, read, request, outcome: startDaemon(request, options) };
}

/** Resolves when the daemon has written this note. */
async function noted(notes: string, name: string): Promise<void> {
  const watcher = watch(notes);
  try {
    if (existsSync(join(notes, name))) return;
    await new Promise<void>((resolve) => {
      watcher.on("change", () => {
        if (existsSync(join(notes, name))) resolve();
      });
    });
  } finally {
    watcher.close();
  }
}

void t.test("a daemon that mounts is let go, with its words passed on", async (t) => {
  const { notes, logs, progress, read, request, outcome } = starting(t, "mounts");
  const status = await outcome;
  t.equal(status.session, "k3v9q2m7xa");
  t.strictSame(logs, ['{"level":"info","msg":"a step"}\n']);
  t.strictSame(progress, [["Creating", 7]]);
  t.match(read("seen"), { word: "daemon", session: "k3v9q2m7xa", cwd: "/", threads: "16" });
  t.strictSame((read("seen") as { request: unknown }).request, JSON.parse(JSON.stringify(request)));
  await noted(notes, "released");
  t.pass("it is on its own");
});

void t.test("a daemon's own error arrives, even when it dies with the word on its lips", async (t) => {
  for (let i = 0; i < 3; i++) {
    const error = await failureOf(starting(t, "fails").outcome);
    t.ok(error instanceof RemoteError);
    t.match(error, { name: "AuthError", exitCode: 77, message: "Wrong password", hint: "Ask" });
  }
});

void t.test("a daemon that dies without a word is a bug that names what to do", async (t) => {
  t.match(await failureOf(starting(t, "dies").outcome), {
    message: /ended by SIGKILL without a word/,
    exitCode: 70,
    hint: /vmmount umount k3v9q2m7xa/,
  });
  t.match(await failureOf(starting(t, "exits").outcome), { message: /ended with exit code 3 without a word/ });
  const missing = starting(t, "mounts", { program: "/nonexistent/program.js" });
  t.match(await failureOf(missing.outcome), { message: /ended with exit code 1 without a word/ });
});

void t.test("a daemon that never listens is ended", async (t) => {
  const limits = { listenWaitMs: 50, cancelWaitMs: 50 };
  const { outcome } = starting(t, "mounts", { limits }, "0000000000");
  t.match(await failureOf(outcome), { message: /the mount daemon does not start/ });
});

void t.test("a signal is passed on, and the daemon's clean-up is waited for", async (t) => {
  const stop = new AbortController();
  const { notes, read, outcome } = starting(t, "is slow", { signal: stop.signal });
  await noted(notes, "asked");
  stop.abort(new CancelledError("Stopped by SIGINT", { signal: 2 }));
  t.match(await failureOf(outcome), { name: "CancelledError", message: "Cleaned up", exitCode: 130 });
  t.equal(read("cancelled"), 2);
});

void t.test("waiting for the clean-up ends some time", async (t) => {
  const stop = new AbortController();
  const { notes, outcome } = starting(t, "is deaf", {
    signal: stop.signal,
    limits: { listenWaitMs: 20_000, cancelWaitMs: 20 },
    onProgress: () => {
      stop.abort(new CancelledError("Stopped by SIGTERM", { signal: 15 }));
    },
  });
  t.match(await failureOf(outcome), { message: /still cleaning up/, exitCode: 143, hint: /vmmount umount k3v9q2m7xa/ });
  await noted(notes, "released");
});

void t.test("a signal before the start starts nothing that stays", async (t) => {
  const reason = new CancelledError("Stopped by SIGINT", { signal: 2 });
  const { notes, outcome } = starting(t, "mounts", { signal: AbortSignal.abort(reason) });
  const error = (await failureOf(outcome)) as Error;
  t.equal(error.cause, reason);
  await noted(notes, "released");
  t.notOk(existsSync(join(notes, "seen")), "it was never told to mount");
});
