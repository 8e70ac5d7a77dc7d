import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import t from "tap";
import { NODE_ARGUMENTS, PROGRAM } from "../fixtures/host/command-line.js";
import { NOTHING_LEFT, ProxyHost } from "../fixtures/host/proxy-host.js";
import { until } from "../fixtures/host/until.js";

/** The daemon starts before the command knows whether it can mount: when it cannot, nothing of the daemon stays. */
const UNREACHABLE = { url: "https://127.0.0.1:1", user: "somebody" };

void t.test("a command that fails before the server is asked ends its daemon first", async (t) => {
  const host = await ProxyHost.make(t, UNREACHABLE);
  const wrong: [args: string[], code: number, message: RegExp][] = [
    [["name:web01", `${host.directory}/absent`], 66, /no such directory/],
    [["name:", host.mountPoint], 64, /nothing follows "name:"/],
    [["name:web01", host.mountPoint, "--config", `${host.directory}/absent.toml`], 78, /configuration file/],
    [["name:web01", host.mountPoint, "--password-file", `${host.directory}/absent`], 78, /absent/],
  ];
  for (const [args, code, message] of wrong) {
    const ended = await host.vmmount(["mount", ...args]);
    t.equal(ended.code, code, ended.stderr);
    t.match(ended.stderr, message);
    t.equal(ended.stderr.trimEnd().split("\n").length, 1, "one sentence, and no word of the daemon");
    t.strictSame(await host.leftovers(), NOTHING_LEFT);
  }
});

void t.test("a command that is killed while it waits for the password takes its daemon along", async (t) => {
  const host = await ProxyHost.make(t, UNREACHABLE);
  const argv = [...NODE_ARGUMENTS, PROGRAM, "mount", "name:web01", host.mountPoint, "--password-fd", "0"];
  const front = spawn(process.execPath, argv, {
    env: { ...process.env, VMMOUNT_CONFIG: host.configPath },
    stdio: ["pipe", "ignore", "ignore"],
  });
  t.teardown(() => front.kill("SIGKILL"));
  await until("the daemon is there", async () => (await host.daemons()).length === 1);
  // Its directories are the last thing that the command makes before it reads the password.
  await until("the command waits for the password", () => existsSync(`${host.stateDir}/logs`));
  front.kill("SIGKILL");
  await once(front, "close");
  await until("the daemon has ended", async () => (await host.daemons()).length === 0);
  t.strictSame(await host.leftovers(), NOTHING_LEFT);
});

void t.test("a password that comes late through a pipe is waited for", async (t) => {
  const host = await ProxyHost.make(t, UNREACHABLE);
  const argv = [...NODE_ARGUMENTS, PROGRAM, "mount", "name:web01", host.mountPoint, "--password-fd", "0"];
  const shell = spawn("sh", ["-c", '{ sleep 3; echo late; } | "$@"', "sh", process.execPath, ...argv], {
    env: { ...process.env, VMMOUNT_CONFIG: host.configPath },
    stdio: ["ignore", "ignore", "pipe"],
  });
  let stderr = "";
  shell.stderr.setEncoding("utf8").on("data", (text: string) => (stderr += text));
  await once(shell, "close");
  t.match(stderr, /Cannot reach/, "it has the password and asks the server");
  t.strictSame(await host.leftovers(), NOTHING_LEFT);
});
