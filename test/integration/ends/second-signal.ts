import { spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import t, { type Test } from "tap";
import type { SessionStatus } from "../../../src/mount/control-protocol.js";
import { NODE_ARGUMENTS, PROGRAM, run } from "../../fixtures/host/command-line.js";
import { labDirectory, labIn } from "../../fixtures/host/lab-host.js";
import { addMachine } from "../../fixtures/host/lab-machine.js";
import { ProxyHost } from "../../fixtures/host/proxy-host.js";
import { lastLine, nothingLeft } from "../../fixtures/host/refusals.js";
import { until } from "../../fixtures/host/until.js";

/** A signal stops; a second one does not wait for what the first one began. */
const directory = await labDirectory(t);
await addMachine(directory, { folder: "tiny" });
const lab = await labIn(t, directory);
/** Longer than the echo of one request, as timeout(1) makes it. */
const LATER_MS = 700;
const AT_ONCE_MS = 3000;

/** From now on the server never answers this call. */
function hang(t: Test, method: string): void {
  lab.traffic.reset();
  lab.rules.add({ match: { method }, action: { kind: "hang" } });
  t.teardown(() => {
    lab.rules.clear();
  });
}

async function called(method: string): Promise<void> {
  await until(`${method} was called`, () => (lab.traffic.report().methods[method] ?? 0) > 0);
}

/** One gc brings everything back to what it was. */
async function collected(t: Test, host: ProxyHost): Promise<void> {
  lab.rules.clear();
  const gc = await host.vmmount(["gc", "--yes"]);
  t.equal(gc.code, 0, gc.stdout + gc.stderr);
  // A killed process cannot log out.
  lab.expireSessions();
  await nothingLeft(t, host, lab);
}

for (const signal of ["SIGTERM", "SIGINT"] as const) {
  void t.test(`${signal} twice to the daemon while the server hangs`, async (t) => {
    const host = await ProxyHost.make(t, lab);
    const { pid, session } = await host.json<SessionStatus>(["mount", "name:tiny", host.mountPoint]);
    const path = join(host.mountPoint, "catalog.json");
    const reader = spawn("sh", ["-c", `exec 7<'${path}'; echo; read -r _`], { stdio: ["pipe", "pipe", "ignore"] });
    t.teardown(() => reader.kill("SIGKILL"));
    await once(reader.stdout, "data");
    hang(t, "RemoveSnapshot_Task");
    process.kill(pid, signal);
    process.kill(pid, signal);
    await called("RemoveSnapshot_Task");
    t.same(await host.mounts(), [], "one signal takes the mount away, open files or not");
    await delay(LATER_MS);
    t.same(await host.daemons(), [pid], "the echo of a signal is no second one: it works on the snapshot");
    const began = performance.now();
    process.kill(pid, signal);
    await until("the daemon has ended", async () => (await host.daemons()).length === 0);
    t.ok(performance.now() - began < AT_ONCE_MS, "at once");
    t.match(await host.leftovers(), { mounts: [], journals: [`${session}.journal`] });
    const { sessions } = await host.json<{ sessions: unknown[] }>(["status"]);
    t.match(sessions, [{ session, alive: false }]);
    await collected(t, host);
  });
}

interface Mounting {
  readonly pid: number;
  readonly ended: ReturnType<typeof run>;
}

/** A mount whose snapshot takes a minute, and cannot be cancelled. */
async function mounting(t: Test, host: ProxyHost): Promise<Mounting> {
  hang(t, "CancelTask");
  lab.rules.add({ match: { method: "CreateSnapshotEx_Task" }, action: { kind: "taskDuration", ms: 4000 } });
  let pid = 0;
  const ended = host.vmmount(["mount", "name:tiny", host.mountPoint], { onStart: (started) => (pid = started) });
  await called("CreateSnapshotEx_Task");
  return { pid, ended };
}

void t.test("SIGINT twice to the command while the snapshot is made: its daemon takes it back alone", async (t) => {
  const { url, user, passwordPath, fingerprint } = lab;
  const host = await ProxyHost.make(t, { url, user, passwordPath, fingerprint, timeout: "3s" });
  const { pid, ended } = await mounting(t, host);
  process.kill(pid, "SIGINT");
  await delay(LATER_MS);
  const began = performance.now();
  process.kill(pid, "SIGINT");
  const { signal, stderr } = await ended;
  t.ok(performance.now() - began < AT_ONCE_MS, "at once");
  t.equal(signal, "SIGINT", "a shell sees 130");
  t.match(lastLine(stderr), /^vmmount: Stopped by SIGINT, which came again.*"vmmount status".*"vmmount gc"/);
  t.equal((await host.daemons()).length, 1);
  await nothingLeft(t, host, lab);
});

void t.test("SIGTERM twice to the daemon while the snapshot is made", async (t) => {
  const host = await ProxyHost.make(t, lab);
  const { ended } = await mounting(t, host);
  const [daemon = 0] = await host.daemons();
  process.kill(daemon, "SIGTERM");
  await delay(LATER_MS);
  process.kill(daemon, "SIGTERM");
  const { code, stderr } = await ended;
  t.equal(code, 143, stderr);
  t.match(lastLine(stderr), /^vmmount: Cannot mount.*"vmmount umount \w{10}/);
  t.equal((await host.journals()).length, 1);
  await until("the server has made the snapshot", () => lab.vm("tiny").snapshots.length === 1);
  await collected(t, host);
});

void t.test("timeout(1), which signals the command and then its group: one request", async (t) => {
  const host = await ProxyHost.make(t, lab);
  lab.rules.add({ match: { method: "CreateSnapshotEx_Task" }, action: { kind: "taskDuration", ms: 60_000 } });
  t.teardown(() => {
    lab.rules.clear();
  });
  const command = [process.execPath, ...NODE_ARGUMENTS, PROGRAM, "mount", "name:tiny", host.mountPoint];
  lab.traffic.reset();
  let pid = 0;
  const ended = run("timeout", ["--preserve-status", "60", ...command], {
    env: { VMMOUNT_CONFIG: host.configPath },
    onStart: (started) => (pid = started),
  });
  await called("CreateSnapshotEx_Task");
  // It does the same with a signal as when the time is up.
  process.kill(pid, "SIGTERM");
  const { code, stderr } = await ended;
  t.equal(code, 143, stderr);
  t.match(lastLine(stderr), /^vmmount: Stopped by(?!.*again)/);
  await nothingLeft(t, host, lab);
});

void t.test("SIGINT to gc while the server hangs: it stops, and the next one goes on", async (t) => {
  const host = await ProxyHost.make(t, lab);
  const { pid } = await host.json<SessionStatus>(["mount", "name:tiny", host.mountPoint]);
  process.kill(pid, "SIGKILL");
  hang(t, "RemoveSnapshot_Task");
  let gcPid = 0;
  const ended = host.vmmount(["gc", "--yes"], { onStart: (started) => (gcPid = started) });
  await called("RemoveSnapshot_Task");
  process.kill(gcPid, "SIGINT");
  const { code, stderr } = await ended;
  t.equal(code, 130, stderr);
  t.equal((await host.journals()).length, 1);
  await collected(t, host);
});
