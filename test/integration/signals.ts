import { readdir, readFile } from "node:fs/promises";
import t, { type Test } from "tap";
import type { run } from "../fixtures/host/command-line.js";
import { addMachine } from "../fixtures/host/lab-machine.js";
import { labDirectory, labIn } from "../fixtures/host/lab-host.js";
import { ProxyHost } from "../fixtures/host/proxy-host.js";
import { lastLine, nothingLeft } from "../fixtures/host/refusals.js";
import { until } from "../fixtures/host/until.js";

/** `vmmount mount` that is stopped half-way takes back what it began. */
const directory = await labDirectory(t);
await addMachine(directory, { folder: "tiny" });
const lab = await labIn(t, directory);

interface Mounting {
  readonly pid: number;
  readonly ended: ReturnType<typeof run>;
}

/** Starts a mount and waits until the server works on its snapshot for so long. */
async function whileCreating(t: Test, host: ProxyHost, taskMs: number): Promise<Mounting> {
  lab.rules.add({ match: { method: "CreateSnapshotEx_Task" }, action: { kind: "taskDuration", ms: taskMs } });
  t.teardown(() => {
    lab.rules.clear();
  });
  lab.traffic.reset();
  let pid = 0;
  const ended = host.vmmount(["mount", "name:tiny", host.mountPoint], { onStart: (started) => (pid = started) });
  await until("the snapshot is being created", () => lab.traffic.report().methods["CreateSnapshotEx_Task"] === 1);
  return { pid, ended };
}

for (const [signal, code] of [
  ["SIGINT", 130],
  ["SIGTERM", 143],
  ["SIGHUP", 129],
] as const) {
  void t.test(`${signal} while the snapshot is being created`, async (t) => {
    const host = await ProxyHost.make(t, lab);
    const { pid, ended } = await whileCreating(t, host, 60_000);
    const began = performance.now();
    process.kill(pid, signal);
    const { code: exit, stderr } = await ended;
    t.equal(exit, code, stderr);
    t.match(lastLine(stderr), /^vmmount: Stopped by/);
    t.ok(performance.now() - began < 20_000, "the task on the server is cancelled, not waited for");
    await nothingLeft(t, host, lab);
  });
}

void t.test("a task that cannot be cancelled in time: what it makes is removed", async (t) => {
  const host = await ProxyHost.make(t, lab);
  lab.rules.add({
    match: { method: "CancelTask" },
    action: { kind: "fault", name: "NotSupported" },
  });
  const { pid, ended } = await whileCreating(t, host, 3_000);
  process.kill(pid, "SIGINT");
  t.equal((await ended).code, 130);
  t.equal(lab.traffic.report().methods["RemoveSnapshot_Task"], 1, "the snapshot came, and went");
  await nothingLeft(t, host, lab);
});

void t.test("SIGKILL of the command before the mount is ready: the daemon takes everything back", async (t) => {
  const host = await ProxyHost.make(t, lab);
  const { pid, ended } = await whileCreating(t, host, 2_000);
  t.equal((await host.daemons()).length, 1);
  process.kill(pid, "SIGKILL");
  await ended;
  await nothingLeft(t, host, lab);
});

void t.test("SIGKILL of the daemon before the mount is ready: the command says how to clean up", async (t) => {
  const host = await ProxyHost.make(t, lab);
  const { ended } = await whileCreating(t, host, 2_000);
  const [daemon = 0] = await host.daemons();
  process.kill(daemon, "SIGKILL");
  const { code, stderr } = await ended;
  t.equal(code, 70, stderr);
  const [, session = ""] = /vmmount umount (\w{10})/.exec(lastLine(stderr)) ?? [];
  t.match(session, /^\w{10}$/, "the last line names the session");
  await until("the server has made the snapshot", () => lab.vm("tiny").snapshots.length === 1);
  const umount = await host.vmmount(["umount", session]);
  t.equal(umount.code, 0, umount.stderr);
  t.equal(lab.traffic.report().sessions, 1, "a killed process cannot log out");
  lab.expireSessions();
  await nothingLeft(t, host, lab);
});

void t.test("the daemon of a mount is on its own", async (t) => {
  const host = await ProxyHost.make(t, lab);
  const { pid } = await host.json<{ pid: number }>(["mount", "name:tiny", host.mountPoint]);
  const [, state = ""] = /\) (.*)/s.exec(await readFile(`/proc/${pid}/stat`, "utf8")) ?? [];
  const [, parent, group, session] = state.split(" ").map(Number);
  t.not(parent, process.pid);
  t.same([group, session], [pid, pid], "it leads a session of its own: no signal of a terminal reaches it");
  process.kill(pid, "SIGHUP");
  const descriptors = await readdir(`/proc/${pid}/fd`);
  t.ok(descriptors.length > 0, "SIGHUP does not end it");
  t.equal((await host.vmmount(["umount", host.mountPoint])).code, 0);
  await nothingLeft(t, host, lab);
});
