import { spawn } from "node:child_process";
import { once } from "node:events";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import t, { type Test } from "tap";
import type { SessionStatus } from "../../../src/mount/control-protocol.js";
import { NODE_ARGUMENTS, PROGRAM, run } from "../../fixtures/host/command-line.js";
import { labDirectory, labIn } from "../../fixtures/host/lab-host.js";
import { addMachine } from "../../fixtures/host/lab-machine.js";
import { ProxyHost } from "../../fixtures/host/proxy-host.js";
import { checkRefusal, nothingLeft } from "../../fixtures/host/refusals.js";
import { until } from "../../fixtures/host/until.js";

/** Ends that go past `vmmount umount`: by the system's own programs, by SIGHUP, and with the terminal. */
const directory = await labDirectory(t);
await addMachine(directory, { folder: "tiny" });
const lab = await labIn(t, directory);
const DISK = "scsi0-0-flat.vmdk";

async function mounted(t: Test): Promise<{ host: ProxyHost; status: SessionStatus }> {
  const host = await ProxyHost.make(t, lab);
  const status = await host.json<SessionStatus>(["mount", "name:tiny", host.mountPoint]);
  return { host, status };
}

for (const [command, ...args] of [["umount"], ["fusermount3", "-u"], ["umount", "-l"], ["umount", "-f"]] as const) {
  void t.test([command, ...args].join(" "), async (t) => {
    const { host } = await mounted(t);
    t.equal((await run(command, [...args, host.mountPoint])).code, 0);
    await nothingLeft(t, host, lab);
  });
}

void t.test("umount -l while a file is open: the reader reads on, and ends the mount", async (t) => {
  const { host, status } = await mounted(t);
  const path = join(host.mountPoint, DISK);
  const reader = spawn("sh", ["-c", `exec 7<'${path}'; echo; read -r _; wc -c <&7`], { stdio: "pipe" });
  t.teardown(() => reader.kill("SIGKILL"));
  let said = "";
  reader.stdout.setEncoding("utf8").on("data", (text: string) => (said += text));
  await until("it is open", () => said === "\n");
  t.equal((await run("umount", ["-l", host.mountPoint])).code, 0);
  t.same(await host.mounts(), []);
  checkRefusal(t, await host.vmmount(["umount", status.session]), { exit: "busy" });
  t.match(await host.json(["status"]), { sessions: [{ session: status.session, alive: true }] });
  t.equal(lab.vm("tiny").snapshots.length, 1);
  reader.stdin.end("\n");
  await once(reader, "close");
  t.equal(Number(said), 1024 * 1024, "all of the disk");
  await nothingLeft(t, host, lab);
});

void t.test("SIGHUP to the daemon: it serves on", async (t) => {
  const { host, status } = await mounted(t);
  const before = await readFile(join(host.mountPoint, DISK));
  for (let times = 0; times < 3; times++) process.kill(status.pid, "SIGHUP");
  t.ok((await readFile(join(host.mountPoint, DISK))).equals(before));
  t.same(await host.daemons(), [status.pid]);
  t.equal((await host.vmmount(["umount", host.mountPoint])).code, 0);
  await nothingLeft(t, host, lab);
});

/** `vmmount ARGS` on a terminal of its own; `close` is what happens when its window is closed. */
function onTerminal(t: Test, host: ProxyHost, args: readonly string[]): { close: () => void; ended: Promise<unknown> } {
  const words = [process.execPath, ...NODE_ARGUMENTS, PROGRAM, ...args].map((word) => `'${word}'`);
  const terminal = spawn("script", ["-qec", words.join(" "), "/dev/null"], {
    stdio: ["pipe", "ignore", "ignore"],
    env: { ...process.env, VMMOUNT_CONFIG: host.configPath },
  });
  const close = (): void => {
    terminal.kill("SIGKILL");
  };
  t.teardown(close);
  return { close, ended: once(terminal, "close") };
}

function slow(t: Test, method: string): () => Promise<void> {
  lab.traffic.reset();
  lab.rules.add({ match: { method }, action: { kind: "taskDuration", ms: 3_000 } });
  t.teardown(() => {
    lab.rules.clear();
  });
  return () => until(`${method} was called`, () => lab.traffic.report().methods[method] === 1);
}

void t.test("the terminal of a mount closes before it is ready: it is taken back", async (t) => {
  const host = await ProxyHost.make(t, lab);
  const called = slow(t, "CreateSnapshotEx_Task");
  const { close, ended } = onTerminal(t, host, ["mount", "name:tiny", host.mountPoint]);
  await called();
  close();
  await ended;
  await nothingLeft(t, host, lab);
});

void t.test("the terminal closes after that: the mount stays", async (t) => {
  const host = await ProxyHost.make(t, lab);
  const { close, ended } = onTerminal(t, host, ["mount", "name:tiny", host.mountPoint]);
  await ended;
  close();
  t.equal((await readFile(join(host.mountPoint, DISK))).length, 1024 * 1024);
  t.equal((await host.vmmount(["umount", host.mountPoint])).code, 0);
  await nothingLeft(t, host, lab);
});

void t.test("the terminal of an umount closes: the daemon goes on", async (t) => {
  const { host } = await mounted(t);
  const called = slow(t, "RemoveSnapshot_Task");
  const { close, ended } = onTerminal(t, host, ["umount", host.mountPoint]);
  await called();
  close();
  await ended;
  t.equal((await host.daemons()).length, 1);
  await nothingLeft(t, host, lab);
});
