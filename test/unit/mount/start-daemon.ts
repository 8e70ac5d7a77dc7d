import { existsSync, readdirSync, readFileSync, watch } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import t, { type Test } from "tap";
import { CancelledError, RemoteError } from "../../../src/errors.js";
import { silentLogger } from "../../../src/log.js";
import { LaunchedDaemon } from "../../../src/mount/launch-daemon.js";
import { startDaemon, type StartOptions } from "../../../src/mount/start-daemon.js";
import { mountRequest } from "../../fixtures/mount/mount-request.js";
import { scratch } from "../../fixtures/scratch.js";
import { failureOf } from "../../fixtures/snapshot-session.js";

const PROGRAM = fileURLToPath(new URL("../../fixtures/programs/daemon.ts", import.meta.url));
const { signal: never } = new AbortController();

type Own = Partial<StartOptions> & { readonly program?: string };

function starting(t: Test, behaviour: string, own: Own = {}, session = "startdaem0") {
  const notes = scratch(t);
  const logs: string[] = [];
  const progress: unknown[] = [];
  const request = mountRequest({ session, mountPoint: notes, locator: { form: { kind: "any" }, text: behaviour } });
  const { program = PROGRAM, ...mine } = own;
  const options: StartOptions = {
    logger: silentLogger(),
    onLog: (line) => logs.push(line),
    onProgress: (what, percent) => progress.push([what, percent]),
    signal: never,
    ...mine,
  };
  const read = (name: string): unknown => JSON.parse(readFileSync(join(notes, name), "utf8"));
  const daemon = LaunchedDaemon.launch(program, notes, session);
  return { notes, logs, progress, read, request, daemon, outcome: startDaemon(daemon, request, options) };
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
  t.equal(status.session, "startdaem0");
  t.strictSame(logs, ['{"level":"info","msg":"a step"}\n']);
  t.strictSame(progress, [["Creating", 7]]);
  t.match(read("seen"), { word: "daemon", session: "startdaem0", cwd: "/", threads: "16" });
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
    hint: /vmmount umount startdaem0/,
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

void t.test("also that of one whose turn has not come", async (t) => {
  const stop = new AbortController();
  const { read, outcome } = starting(t, "waits for its turn", {
    signal: stop.signal,
    onPrepared: () => {
      const turn = new Promise<void>((_, reject) => {
        stop.signal.addEventListener("abort", () => {
          reject(stop.signal.reason as Error);
        });
      });
      stop.abort(new CancelledError("Stopped by SIGINT", { signal: 2 }));
      return turn;
    },
  });
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
  t.match(await failureOf(outcome), { message: /still cleaning up/, exitCode: 143, hint: /vmmount umount startdaem0/ });
  await noted(notes, "released");
});

void t.test("a signal before the start starts nothing that stays", async (t) => {
  const reason = new CancelledError("Stopped by SIGINT", { signal: 2 });
  const { notes, daemon, outcome } = starting(t, "mounts", { signal: AbortSignal.abort(reason) });
  t.equal(await failureOf(outcome), reason);
  await daemon.dismiss();
  t.notOk(existsSync(join(notes, "seen")), "it was never told to mount");
});

/** The process is gone, and not only told to go. */
function isGone(session: string): boolean {
  const words = (pid: string): string[] => {
    try {
      return readFileSync(`/proc/${pid}/cmdline`, "utf8").split("\0");
    } catch {
      // It ended between the two looks.
      return [];
    }
  };
  return !readdirSync("/proc").some((pid) => /^\d+$/.test(pid) && words(pid).includes(session));
}

void t.test("a daemon that is dismissed is gone, however far it is", async (t) => {
  const early = LaunchedDaemon.launch(PROGRAM, scratch(t), "d1sm1ssed0");
  t.notOk(isGone("d1sm1ssed0"), "it runs while its launcher is busy");
  await early.dismiss();
  t.ok(isGone("d1sm1ssed0"), "while it still loads");
  const notes = scratch(t);
  const late = LaunchedDaemon.launch(PROGRAM, notes, "d1sm1ssed2");
  await late.listening;
  await late.dismiss();
  t.ok(isGone("d1sm1ssed2"), "while it waits");
  t.strictSame(readdirSync(notes), [], "without a word");
  const none = LaunchedDaemon.launch("/nonexistent/program.js", notes, "d1sm1ssed3");
  t.match(await none.ended, { code: 1, by: null });
  await none.dismiss();
});

void t.test("a daemon that is taken over is not dismissed", async (t) => {
  const { daemon, notes, outcome } = starting(t, "mounts");
  await daemon.dismiss();
  t.match(await outcome, { session: "startdaem0" });
  await daemon.dismiss();
  await noted(notes, "released");
});

void t.test("a daemon that ended before it was asked is reported", async (t) => {
  const notes = scratch(t);
  const daemon = LaunchedDaemon.launch("/nonexistent/program.js", notes, "d1sm1ssed4");
  await daemon.ended;
  const request = mountRequest({ session: daemon.session, mountPoint: notes });
  const options = { logger: silentLogger(), onLog: () => undefined, onProgress: () => undefined, signal: never };
  t.match(await failureOf(startDaemon(daemon, request, options)), { message: /ended with exit code 1 without a word/ });
});

void t.test("what a daemon said before anybody asked it is not lost", async (t) => {
  const notes = scratch(t);
  const daemon = LaunchedDaemon.launch(PROGRAM, notes, "1mpat1ent0");
  t.type(daemon.pid, "number");
  await daemon.ended;
  t.equal(daemon.pid, undefined, "the number may be another process's by now");
  const request = mountRequest({ session: daemon.session, mountPoint: notes });
  const options = { logger: silentLogger(), onLog: () => undefined, onProgress: () => undefined, signal: never };
  const error = await failureOf(startDaemon(daemon, request, options));
  t.match(error, { name: "UnreachableError", exitCode: 69, message: "Nobody asked" });
});

void t.test("a system that starts no process is named, and is no bug", async (t) => {
  // Linux takes no argument of more than 128 KiB.
  t.throws(() => LaunchedDaemon.launch(PROGRAM, `/${"x".repeat(200_000)}`), {
    name: "VmmountError",
    message: /^Cannot start the mount daemon: .*E2BIG/,
    hint: /memory/,
  });
  t.intercept(process, "execPath", { value: "/nonexistent/node" });
  const none = LaunchedDaemon.launch(PROGRAM, scratch(t));
  t.equal(none.pid, undefined);
  t.match(await none.ended, { failure: { name: "VmmountError", message: /^Cannot start the mount daemon: .*ENOENT/ } });
  await none.dismiss();
});
