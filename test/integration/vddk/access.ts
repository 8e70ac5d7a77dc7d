import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import t, { type Test } from "tap";
import type { Lab } from "../../../src/lab/lab.js";
import { LAB_CONFIG_NAME } from "../../../src/lab/lab-config.js";
import type { SessionStatus } from "../../../src/mount/control-protocol.js";
import type { Ended } from "../../fixtures/host/command-line.js";
import { labDirectory, labFor, labIn, SMALL } from "../../fixtures/host/lab-host.js";
import { NOTHING_LEFT, ProxyHost } from "../../fixtures/host/proxy-host.js";
import { NOTHING_HELD, StandIn } from "../../fixtures/vddk/stand-in.js";

/*
 * When vCenter is told not to move the disks of a VM, and when it hears that it may again: PrepareForAccess, CreateSnapshot, open …
 * close, RemoveSnapshot, EndAccess. What the library has done is looked at while the server holds back the call for the snapshot.
 */

/** Long enough to be seen telling vCenter while the snapshot is still there. */
const REMOVAL_MS = 700;

interface Stage {
  readonly lab: Lab;
  readonly host: ProxyHost;
  readonly standIn: StandIn;
  readonly vmmount: (...args: readonly string[]) => Promise<Ended>;
}

async function stage(t: Test, lab: Lab): Promise<Stage> {
  const host = await ProxyHost.make(t, lab);
  const standIn = await StandIn.make(t, lab);
  const env = { ...standIn.env, VMMOUNT_VDDK_LIBDIR: standIn.libdir };
  return { lab, host, standIn, vmmount: (...args) => host.vmmount(args, { env }) };
}

/** What the library was asked for until the server is called, of which it holds back the first one. */
async function eventsUntil({ lab, standIn }: Stage, method: string, action: Promise<Ended>): Promise<string[]> {
  const take = lab.rules.add({ match: { method }, count: 1, action: { kind: "hold", when: "before" } });
  const unheard = action.then(({ stderr }) => Promise.reject(new Error(`${method} was not called: ${stderr}`)));
  await Promise.race([lab.rules.holds.someone(new AbortController().signal), unheard]);
  const events = await standIn.events();
  take();
  lab.rules.holds.letGo();
  unheard.catch(() => undefined);
  return events;
}

/** @returns the session @throws unless the mount is there */
async function mountAndSee(t: Test, at: Stage, mode: string): Promise<SessionStatus> {
  const mounting = at.vmmount("mount", "/dc1/web01", at.host.mountPoint, "--transport", mode, "--json");
  const before = await eventsUntil(at, "CreateSnapshotEx_Task", mounting);
  const mounted = await mounting;
  t.equal(mounted.code, 0, mounted.stderr);
  const status = JSON.parse(mounted.stdout) as SessionStatus;
  t.same(before, [`prepare vmmount-${status.session}`], "vCenter was told before there was a snapshot");
  return status;
}

/** vCenter may move the disks when the snapshot is gone, and not while it goes. */
async function umountAndSee(t: Test, at: Stage, status: SessionStatus): Promise<string[]> {
  const vm = at.lab.vm("web01");
  at.lab.rules.add({ match: { method: "RemoveSnapshot_Task" }, action: { kind: "taskDuration", ms: REMOVAL_MS } });
  const ends = async (): Promise<number> =>
    (await at.standIn.events()).filter((line) => line === `end vmmount-${status.session}`).length;
  const umounting = at.vmmount("umount", at.host.mountPoint);
  const before = await eventsUntil(at, "RemoveSnapshot_Task", umounting);
  const count = (word: string): number => before.filter((line) => line.startsWith(`${word} `)).length;
  t.ok(count("open") >= 2);
  t.equal(count("end"), 0, "not before the snapshot is removed");
  for (let isOver = false; !isOver && (await ends()) === 0;) {
    isOver = await Promise.race([umounting.then(() => true), sleep(5, false)]);
  }
  t.same(vm.snapshots, [], "the snapshot was gone first");
  const umount = await umounting;
  t.equal(umount.code, 0, umount.stderr);
  t.equal(await ends(), 1, "vCenter was told, once");
  t.same(await at.host.leftovers(), NOTHING_LEFT);
  return before;
}

void t.test("vCenter is told before the snapshot is made and after it is gone", async (t) => {
  const at = await stage(t, await labFor(t));
  const status = await mountAndSee(t, at, "nbdssl");
  const before = await umountAndSee(t, at, status);
  t.ok(before.some((line) => line.startsWith("disconnect ")));
  t.same(await at.standIn.left(), NOTHING_HELD);
});

void t.test("vCenter is told also when the process that asked it is another one by then", async (t) => {
  const at = await stage(t, await labFor(t));
  const status = await mountAndSee(t, at, "nbdssl");
  const [library] = (await at.host.daemons()).filter((pid) => pid !== status.pid);
  process.kill(library!, "SIGKILL");
  while (!/serves 2 disks again/.test(await readFile(status.log, "utf8"))) await sleep(20);
  await umountAndSee(t, at, status);
  t.equal((await at.standIn.left()).prepared, 0);
});

void t.test(
  "after a crash of both processes umount detaches the disks before the snapshot goes, and tells vCenter after it",
  async (t) => {
    const at = await stage(t, await labFor(t));
    const status = await mountAndSee(t, at, "hotadd");
    const [library] = (await at.host.daemons()).filter((pid) => pid !== status.pid);
    // It would clean up when it sees the daemon's end.
    process.kill(library!, "SIGSTOP");
    process.kill(status.pid, "SIGKILL");
    process.kill(library!, "SIGKILL");
    while ((await at.host.daemons()).length > 0) await sleep(20);
    const crashed = await at.standIn.events();
    t.match(await at.standIn.left(), { open: 2, connected: 1, prepared: 1 }, "nothing was cleaned up by itself");
    const before = await umountAndSee(t, at, status);
    t.same(before.slice(crashed.length), ["cleanup", "exit"], "before the snapshot is removed");
    t.equal((await at.standIn.left()).prepared, 0);
  },
);

void t.test("an ESXi host, which moves nothing, is not asked", async (t) => {
  const directory = await labDirectory(t, SMALL);
  await writeFile(join(directory, LAB_CONFIG_NAME), JSON.stringify({ version: 1, server: "esxi" }));
  const at = await stage(t, await labIn(t, directory));
  const mounted = await at.vmmount("mount", "/dc1/web01", at.host.mountPoint, "--transport", "nbdssl");
  t.equal(mounted.code, 0, mounted.stderr);
  t.notMatch(mounted.stderr, /vCenter/);
  const umount = await at.vmmount("umount", at.host.mountPoint);
  t.equal(umount.code, 0, umount.stderr);
  const events = await at.standIn.events();
  t.ok(events.some((line) => line.startsWith("open ")));
  t.notOk(events.some((line) => /^(prepare|end) /.test(line)));
  t.same(await at.host.leftovers(), NOTHING_LEFT);
});
