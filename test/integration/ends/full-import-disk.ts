import { randomUUID } from "node:crypto";
import { mkdir, readdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import t, { type Test } from "tap";
import { ProxyHost } from "../../fixtures/host/proxy-host.js";
import { checkRefusal } from "../../fixtures/host/refusals.js";
import { PAGE_BYTES, SmallDisk } from "../../fixtures/host/small-disk.js";
import { testPool } from "../../fixtures/xen/lab-pool.js";
import { PoolClient } from "../../fixtures/xen/pool-client.js";
import { countsAtRest } from "../../fixtures/xen/pool-at-rest.js";

/** The disk of `state.dir` runs full while `vmmount restore` keeps its record; nothing stays, here or on the pool. */
const { lab } = await testPool(t, { profile: "8.2" });
const skip = process.geteuid?.() === 0 ? false : "only root mounts a small disk";
const client = await PoolClient.login(lab);
const archive = (await client.get("/export", { uuid: lab.vm("cold01").uuid })).body;
await client.call("session.logout");
const FULL = {
  exit: "space",
  says: /"\/\S+\/state\/imports\b.*no room left.*Make room there, or set state\.dir/,
} as const;

interface Stage {
  readonly host: ProxyHost;
  readonly disk: SmallDisk;
  /** A path to the archive with which the first line of the record has so many bytes. */
  readonly archiveFor: (lineBytes: number) => string;
}

async function stage(t: Test): Promise<Stage> {
  const host = await ProxyHost.make(t, lab);
  const disk = await SmallDisk.at(t, host.stateDir);
  for (const folder of ["sessions", "logs", "imports"]) await mkdir(join(host.stateDir, folder), { mode: 0o700 });
  await writeFile(join(host.directory, "a.xva"), archive);
  const task = `OpaqueRef:${randomUUID()}`;
  const line = JSON.stringify({ url: lab.url, backup: host.directory, task, started: new Date().toISOString() });
  const archiveFor = (lineBytes: number): string =>
    `${host.directory}${"/".repeat(lineBytes - `${line}a.xva\n`.length)}a.xva`;
  return { host, disk, archiveFor };
}

async function leavesNothing(t: Test, { host, disk }: Stage, before: Record<string, number>): Promise<void> {
  t.same(await countsAtRest(lab), before, "VMs, disks, tasks and sessions are as before");
  t.same(await readdir(join(host.stateDir, "imports")), []);
  await disk.makeRoom();
  const gc = await host.vmmount(["gc", "--yes"]);
  t.match(gc, { code: 0, stdout: /^Nothing is left behind/ });
}

for (const [what, pages, files] of [
  ["its name", undefined, 0],
  ["its first line", 0, undefined],
] as const) {
  await t.test(`at ${what}: nothing is sent`, { skip }, async (t) => {
    const at = await stage(t);
    if (pages !== undefined) await at.disk.fillTo(pages);
    if (files !== undefined) await at.disk.takeFiles(files);
    const before = await countsAtRest(lab);
    lab.traffic.reset();
    checkRefusal(t, await at.host.vmmount(["restore", "-q", at.archiveFor(400), "--sr", "NFS"]), FULL);
    t.equal(lab.traffic.report().files["/import"], undefined);
    await leavesNothing(t, at, before);
  });
}

await t.test("before the end of the archive is sent: the import fails, and is taken back", { skip }, async (t) => {
  const at = await stage(t);
  await at.disk.fillTo(1);
  const before = await countsAtRest(lab);
  const cut = at.archiveFor(PAGE_BYTES - "sen".length);
  checkRefusal(t, await at.host.vmmount(["restore", "-q", cut, "--sr", "NFS"]), FULL);
  await leavesNothing(t, at, before);
});

await t.test("where it would say that the import failed: what it left is removed all the same", { skip }, async (t) => {
  const at = await stage(t);
  await at.disk.fillTo(1);
  const before = await countsAtRest(lab);
  const noSpace = { kind: "fault" as const, name: "SR_BACKEND_FAILURE_44", parameters: ["", "no space", ""] };
  lab.rules.add({ match: { path: "/import" }, action: noSpace });
  lab.rules.add({ match: { path: "/import" }, action: { kind: "skipUndo" } });
  // There is room for "sent", which may come before.
  const failed = await at.host.vmmount(["restore", at.archiveFor(PAGE_BYTES - "failed".length), "--sr", "NFS"]);
  lab.rules.clear();
  t.equal(failed.code, 80, failed.stderr);
  t.match(failed.stderr, /no space/, "the pool's reason is the one that is told");
  t.match(failed.stderr, /warning: The record of the import is not up to date/);
  await leavesNothing(t, at, before);
});
