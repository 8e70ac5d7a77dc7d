import { spawn } from "node:child_process";
import { once } from "node:events";
import { rm } from "node:fs/promises";
import { join } from "node:path";
import t, { type Test } from "tap";
import type { Lab } from "../../src/lab/lab.js";
import type { SessionStatus } from "../../src/mount/control-protocol.js";
import type { Ended } from "../fixtures/host/command-line.js";
import { labFor } from "../fixtures/host/lab-host.js";
import { NOTHING_LEFT, ProxyHost } from "../fixtures/host/proxy-host.js";
import { cannotMount } from "../fixtures/mounting.js";

// umount with another state.dir or runtime.dir than mount had, as from cron and in a login session.

const skip = cannotMount();

interface Stage {
  readonly lab: Lab;
  readonly host: ProxyHost;
  readonly status: SessionStatus;
  /** Runs vmmount with another runtime.dir; `both`: and another state.dir. */
  readonly elsewhere: (args: readonly string[], other: "runtime.dir" | "both") => Promise<Ended>;
}

async function mounted(t: Test): Promise<Stage> {
  const lab = await labFor(t);
  const host = await ProxyHost.make(t, lab);
  const status = await host.json<SessionStatus>(["mount", "name:web01", host.mountPoint]);
  const elsewhere: Stage["elsewhere"] = (args, other) => {
    const runtime = { VMMOUNT_RUNTIME_DIR: join(host.directory, "run2") };
    const state = { VMMOUNT_STATE_DIR: join(host.directory, "state2") };
    return host.vmmount(args, { env: { ...runtime, ...(other === "both" && state) } });
  };
  return { lab, host, status, elsewhere };
}

async function nothingLeft(t: Test, { lab, host }: Stage): Promise<void> {
  t.strictSame(lab.vm("web01").snapshots, []);
  t.same(await host.leftovers(), NOTHING_LEFT);
}

void t.test("another runtime.dir: the session is seen alive and unmounted through its daemon", { skip }, async (t) => {
  const stage = await mounted(t);
  const seen = await stage.elsewhere(["status", "--json"], "runtime.dir");
  t.match(JSON.parse(seen.stdout), { sessions: [{ alive: true, session: stage.status.session }] });
  const umount = await stage.elsewhere(["umount", stage.host.mountPoint], "runtime.dir");
  t.equal(umount.code, 0, umount.stderr);
  t.match(umount.stdout, /removed the snapshot/);
  await nothingLeft(t, stage);
});

void t.test("another state.dir too: a living mount is not called dead", { skip }, async (t) => {
  const stage = await mounted(t);
  const umount = await stage.elsewhere(["umount", stage.host.mountPoint], "both");
  t.equal(umount.code, 0, umount.stderr);
  t.match(umount.stdout, /removed the snapshot/);
  t.notMatch(umount.stderr, /dead/);
  await nothingLeft(t, stage);
});

void t.test("its socket was removed: the daemon still notices, and is waited for", { skip }, async (t) => {
  for (const other of ["runtime.dir", "both"] as const) {
    const stage = await mounted(t);
    const { host, status } = stage;
    await rm(host.runtimeDir, { recursive: true });
    const reader = spawn("sh", ["-c", `exec 7<'${join(host.mountPoint, "catalog.json")}'; echo ready; read -r _`], {
      stdio: ["pipe", "pipe", "inherit"],
    });
    await once(reader.stdout, "data");
    const busy = await stage.elsewhere(["umount", host.mountPoint], other);
    t.equal(busy.code, 73, busy.stderr);
    t.match(busy.stderr, new RegExp(`sh \\(pid ${reader.pid ?? 0}\\) uses`));
    if (other === "runtime.dir") {
      reader.stdin.end("\n");
      await once(reader, "close");
    }
    const args = ["umount", host.mountPoint, ...(other === "both" ? ["--force"] : [])];
    const umount = await stage.elsewhere(args, other);
    t.equal(umount.code, 0, umount.stderr);
    t.match(umount.stderr, new RegExp(`${status.session}\\.log`), "what nobody could ask is in the log");
    await nothingLeft(t, stage);
    reader.kill("SIGKILL");
  }
});

void t.test("a dead daemon's mount is detached, and its snapshot left to who has the journal", { skip }, async (t) => {
  const stage = await mounted(t);
  const { host, lab, status } = stage;
  process.kill(status.pid, "SIGKILL");
  const unknown = await stage.elsewhere(["umount", host.mountPoint], "both");
  t.equal(unknown.code, 76, unknown.stderr);
  t.match(unknown.stderr, new RegExp(`state\\.dir of the mount.*vmmount-${status.session}`));
  t.strictSame(await host.mounts(), []);
  t.equal(lab.vm("web01").snapshots.length, 1);
  const known = await stage.elsewhere(["umount", host.mountPoint], "runtime.dir");
  t.equal(known.code, 0, known.stderr);
  await nothingLeft(t, stage);
});
