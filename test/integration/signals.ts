import { spawn } from "node:child_process";
import { once } from "node:events";
import t from "tap";
import { NODE_ARGUMENTS, PROGRAM } from "../fixtures/host/command-line.js";
import { labFor } from "../fixtures/host/lab-host.js";
import { NOTHING_LEFT, ProxyHost } from "../fixtures/host/proxy-host.js";
import { daemonEnded } from "../../src/mount/daemon-process.js";
import { readdir } from "node:fs/promises";
import { join } from "node:path";

/** Long enough that a signal surely comes while the snapshot is being made. */
const CREATE_MS = 4000;

for (const [signal, code] of [
  ["SIGINT", 130],
  ["SIGTERM", 143],
  ["SIGKILL", null],
] as const) {
  void t.test(`${signal} to "vmmount mount" while the snapshot is being made leaves nothing`, async (t) => {
    const lab = await labFor(t);
    const host = await ProxyHost.make(t, lab);
    for (const method of ["CreateSnapshotEx_Task", "CreateSnapshot_Task"]) {
      lab.rules.add({ match: { method }, action: { kind: "taskDuration", ms: CREATE_MS } });
    }
    const child = spawn(process.execPath, [...NODE_ARGUMENTS, PROGRAM, "mount", "name:web01", host.mountPoint], {
      stdio: ["ignore", "ignore", "pipe"],
      env: { ...process.env, VMMOUNT_CONFIG: host.configPath },
    });
    child.stderr.resume();
    const isAsked = (): boolean =>
      Object.keys(lab.traffic.report().methods).some((method) => method.startsWith("CreateSnapshot"));
    while (!isAsked()) await new Promise((resolve) => setImmediate(resolve));
    const [pid = 0] = await host.daemons();
    const [session = ""] = (await readdir(join(host.stateDir, "sessions"))).map((name) => name.split(".")[0] ?? "");
    child.kill(signal);
    const [ended] = (await once(child, "exit")) as [number | null];
    t.equal(ended, code);
    // After SIGKILL the daemon learns of it by itself and rolls back on its own.
    t.ok(await daemonEnded(pid, session, 60_000), "the daemon ends");
    t.same(lab.vm("web01").snapshots, []);
    t.same(await host.leftovers(), NOTHING_LEFT);
  });
}
