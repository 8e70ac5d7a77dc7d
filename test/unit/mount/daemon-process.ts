import { spawn } from "node:child_process";
import { once } from "node:events";
import t from "tap";
import { until } from "../../fixtures/host/until.js";
import { daemonAt, daemonEnded, findDaemon, silenceHint } from "../../../src/mount/daemon-process.js";

const ID = "daem0np0c5";

void t.test("daemonEnded() waits for the process whose arguments name the session", async (t) => {
  // "sh -c SCRIPT NAME ARG…": the shell's own arguments look like a daemon's.
  const child = spawn("sh", ["-c", "echo ready; read -r _", "sh", "daemon", ID], {
    stdio: ["pipe", "pipe", "inherit"],
  });
  t.teardown(() => child.kill("SIGKILL"));
  await once(child.stdout, "data");
  const pid = child.pid ?? 0;
  t.equal(await daemonEnded(pid, ID, 1), false);
  t.equal(await daemonEnded(pid, "other00000", 1), true, "a reused pid is somebody else");
  const ended = daemonEnded(pid, ID, 30_000);
  child.stdin.end("\n");
  t.equal(await ended, true);
});

void t.test("daemonEnded() takes no process for an ended one", async (t) => {
  t.equal(await daemonEnded(2 ** 22 + 1, ID), true);
});

void t.test("findDaemon() finds a daemon by its arguments, and only a user's own", async (t) => {
  const uid = process.getuid?.() ?? 0;
  const start = async (...words: string[]): Promise<number> => {
    const child = spawn("sh", ["-c", "echo ready; read -r _", "sh", ...words], { stdio: ["pipe", "pipe", "inherit"] });
    t.teardown(() => child.kill("SIGKILL"));
    await once(child.stdout, "data");
    return child.pid ?? 0;
  };
  await start("daemon", "0ther00000", "/mnt");
  const pid = await start("daemon", "f0und00000", "/mnt");
  const found = { pid, uid, isStopped: false };
  t.strictSame(await findDaemon("f0und00000", uid), found);
  t.strictSame(await daemonAt(pid, "f0und00000"), found);
  t.equal(await findDaemon("f0und00000", uid + 1), undefined, "a stranger may call his process what he likes");
  t.equal(await findDaemon("n0where000", uid), undefined);
});

void t.test("of a stopped daemon it is told how it goes on", async (t) => {
  const child = spawn("sh", ["-c", "echo ready; read -r _", "sh", "daemon", ID], {
    stdio: ["pipe", "pipe", "inherit"],
  });
  t.teardown(() => child.kill("SIGKILL"));
  await once(child.stdout, "data");
  const pid = child.pid ?? 0;
  t.match(silenceHint((await daemonAt(pid, ID))!), /try again in a minute/);
  child.kill("SIGSTOP");
  await until("the daemon is stopped", async () => (await daemonAt(pid, ID))?.isStopped === true);
  t.match(silenceHint((await daemonAt(pid, ID))!), `Process ${pid} is stopped: "kill -CONT ${pid}"`);
});
