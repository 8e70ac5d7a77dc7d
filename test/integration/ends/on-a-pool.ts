import { spawn } from "node:child_process";
import { once } from "node:events";
import { rm } from "node:fs/promises";
import { join } from "node:path";
import t, { type Test } from "tap";
import type { SessionStatus } from "../../../src/mount/control-protocol.js";
import { run } from "../../fixtures/host/command-line.js";
import { NOTHING_LEFT, ProxyHost } from "../../fixtures/host/proxy-host.js";
import { checkRefusal } from "../../fixtures/host/refusals.js";
import { until } from "../../fixtures/host/until.js";
import { testPool } from "../../fixtures/xen/lab-pool.js";
import { countsAtRest } from "../../fixtures/xen/pool-at-rest.js";

/** Ends of mounts of a pool: disks that hosts hold for NBD are let go, and the pool is as before. */
const { lab } = await testPool(t, { profile: "8.3" });
const VM = "web01";

interface Scene {
  readonly host: ProxyHost;
  readonly status: SessionStatus;
  /** What the pool had before; sessions of processes that are killed are ended by the pool, later. */
  readonly before: Readonly<Record<string, number>>;
}

async function mounted(t: Test): Promise<Scene> {
  const host = await ProxyHost.make(t, lab);
  const before = await countsAtRest(lab);
  const status = await host.json<SessionStatus>(["mount", `name:${VM}`, host.mountPoint]);
  t.match(status, { disks: [{ transport: "nbd" }, { transport: "nbd" }] });
  await run("head", ["-c", "4096", join(host.mountPoint, "xvda.raw")]);
  return { host, status, before };
}

async function leavesNothing(t: Test, { host, before }: Scene): Promise<void> {
  await until("the daemon has ended", async () => (await host.daemons()).length === 0);
  t.same(await host.leftovers(), NOTHING_LEFT);
  t.strictSame(lab.vm(VM).snapshots, []);
  lab.expireSessions();
  t.same({ ...(await countsAtRest(lab)), session: 0 }, { ...before, session: 0 });
}

for (const [what, end] of [
  ["umount(8)", (at: Scene) => run("umount", [at.host.mountPoint])],
  ["SIGTERM to the daemon", (at: Scene) => process.kill(at.status.pid, "SIGTERM")],
  ["SIGINT to the daemon", (at: Scene) => process.kill(at.status.pid, "SIGINT")],
] as const) {
  void t.test(what, async (t) => {
    const at = await mounted(t);
    await end(at);
    await leavesNothing(t, at);
  });
}

void t.test("SIGHUP to the daemon: it serves on", async (t) => {
  const at = await mounted(t);
  process.kill(at.status.pid, "SIGHUP");
  const sum = (await run("sha256sum", [join(at.host.mountPoint, "xvda.raw")])).stdout.slice(0, 64);
  const [snapshot = ""] = lab.vm(VM).snapshots;
  t.equal(sum, await lab.hashVdi(lab.pool.database.text("VDI", diskOf(snapshot), "uuid")));
  t.equal((await at.host.vmmount(["umount", at.host.mountPoint])).code, 0);
  await leavesNothing(t, at);
});

/** The first disk of a snapshot. */
function diskOf(snapshot: string): string {
  const { database } = lab.pool;
  const [vbd = ""] = database
    .where("VBD", "VM", snapshot)
    .filter((one) => database.text("VBD", one, "userdevice") === "0");
  return database.text("VBD", vbd, "VDI");
}

for (const [who, cleanUp] of [
  ["gc", ["gc", "--yes"]],
  ["umount", ["umount", "--all"]],
] as const) {
  void t.test(`SIGKILL in the middle of a read, and a reboot: ${who} removes the snapshot`, async (t) => {
    const at = await mounted(t);
    const reader = spawn("cat", [join(at.host.mountPoint, `${VM}.xva`)], { stdio: ["ignore", "pipe", "ignore"] });
    t.teardown(() => reader.kill("SIGKILL"));
    await once(reader.stdout, "readable");
    process.kill(at.status.pid, "SIGKILL");
    reader.kill("SIGKILL");
    await until("the reader has ended", () => reader.exitCode !== null || reader.signalCode !== null);
    await run("umount", ["-l", at.host.mountPoint]);
    await rm(at.host.runtimeDir, { recursive: true });
    t.equal(lab.vm(VM).snapshots.length, 1);
    const cleaned = await at.host.vmmount([...cleanUp]);
    t.equal(cleaned.code, 0, cleaned.stdout + cleaned.stderr);
    await leavesNothing(t, at);
  });
}

void t.test("no host of the pool answers at umount: 76, and gc when it is back", async (t) => {
  const at = await mounted(t);
  const { host, status } = at;
  const away = lab.rules.add({ match: {}, action: { kind: "drop", when: "before" } });
  checkRefusal(t, await host.vmmount(["umount", host.mountPoint]), {
    exit: "leftover",
    says: /"vmmount umount \w{10}" or "vmmount gc"/,
  });
  t.same(
    await host.leftovers(),
    { ...NOTHING_LEFT, journals: [`${status.session}.journal`] },
    "the mount point is free",
  );
  t.equal((await host.vmmount(["gc", "--yes"])).code, 76);
  away();
  t.equal(lab.vm(VM).snapshots.length, 1);
  const gc = await host.vmmount(["gc", "--yes"]);
  t.equal(gc.code, 0, gc.stdout + gc.stderr);
  await leavesNothing(t, at);
});
