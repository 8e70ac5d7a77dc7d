import { existsSync } from "node:fs";
import { utimes, writeFile } from "node:fs/promises";
import { join } from "node:path";
import t, { type Test } from "tap";
import { eraseImport, ImportRecord, type ImportStep, listImports } from "../../../src/mount/import-record.js";
import { textOf } from "../../../src/lab/xen/value.js";
import { describeImport } from "../../../src/snapshot/ownership.js";
import { MIB } from "../../../src/units.js";
import { GarbageSite } from "../../fixtures/gc/garbage-site.js";
import { ProxyHost } from "../../fixtures/host/proxy-host.js";
import { until } from "../../fixtures/host/until.js";
import { connectToPool } from "../../fixtures/xen/connect-to-pool.js";
import { SMALL_POOL, testPool } from "../../fixtures/xen/lab-pool.js";
import { PoolClient } from "../../fixtures/xen/pool-client.js";
import { countsAtRest } from "../../fixtures/xen/pool-at-rest.js";

/** What a `vmmount restore` that died leaves on a pool, and what `vmmount gc` makes of it; the subtests follow each other. */
const pool = await testPool(t, {
  profile: "8.2",
  init: { ...SMALL_POOL, systemBytes: 32 * MIB, systemDataBytes: 16 * MIB },
});
const { lab } = pool;
const { database } = lab.pool;
const vm = lab.vm("cold01");
const stranger = await connectToPool(pool);
t.teardown(() => stranger[Symbol.asyncDispose]());
const host = await ProxyHost.make(t, lab);
const site = await GarbageSite.make(
  t,
  {
    access: lab,
    stranger,
    vm: { ref: vm.uuid, name: vm.name, path: `/${vm.name}` },
    snapshots: () => vm.snapshots,
    breakRemovals: () => () => 0,
  },
  host,
);
const before = lab.counts();
const NOTHING = { VM: before["VM"], VDI: before["VDI"], VBD: before["VBD"] };
const client = await PoolClient.login(lab);
t.teardown(() => client.call("session.logout").then(() => undefined));
const archive = (await client.get("/export", { uuid: vm.uuid })).body;
const path = join(host.directory, "cold01.xva");
await writeFile(path, archive);

function importedVms(): string[] {
  const isImported = (row: Readonly<Record<string, unknown>>): boolean =>
    "import_task" in (row["other_config"] as object);
  return database
    .rows("VM")
    .filter(([, row]) => isImported(row))
    .map(([ref]) => ref);
}

function taskOf(ref: string): string {
  return textOf((database.row("VM", ref)["other_config"] as Record<string, string>)["import_task"]);
}

/** Kills `vmmount restore` in the middle of its upload; the pool's own clean-up dies with it. */
async function killedRestore(): Promise<{ readonly vm: string; readonly task: string }> {
  const undo = [
    lab.rules.add({ match: { path: "/import" }, action: { kind: "bandwidth", bytesPerSecond: 4 * MIB } }),
    lab.rules.add({ match: { path: "/import" }, action: { kind: "skipUndo" } }),
  ];
  let pid = 0;
  const running = host.vmmount(["restore", path, "--sr", "NFS"], { onStart: (started) => (pid = started) });
  await until("the pool has begun to import", () => importedVms().length === 1);
  t.match((await site.gc()).report, [{ kind: "import", class: "live", action: "left" }]);
  process.kill(pid, "SIGKILL");
  t.equal((await running).signal, "SIGKILL");
  const [ref = ""] = importedVms();
  const task = taskOf(ref);
  await until("the pool has noticed", () => database.text("task", task, "status") === "failure");
  for (const one of undo) one();
  return { vm: ref, task };
}

/** A VM that a client of its own has imported with a task of ours. */
async function imported(description: string): Promise<{ readonly vm: string; readonly task: string }> {
  const task = (await client.call("task.create", "vmmount: Importing", description)) as string;
  await client
    .put("/import", { task_id: task, sr_id: database.byUuid("SR", storage()) }, archive)
    .catch(() => undefined);
  t.equal((await client.ended(task)).status, "success");
  const [ref = ""] = importedVms().filter((one) => taskOf(one) === task);
  return { vm: ref, task };
}

function storage(): string {
  const [, row] = database.rows("SR").find(([, one]) => one["name_label"] === "NFS") ?? [];
  return textOf(row?.["uuid"]);
}

/** As a process that died at this step of an import. */
async function died(task: string, step?: ImportStep): Promise<void> {
  const facts = { url: lab.url, backup: "/x.xva", task, started: new Date().toISOString() };
  await using record = await ImportRecord.create(site.paths, facts);
  if (step !== undefined) await record.note(step);
}

async function leavesNothing(t: Test): Promise<void> {
  t.match(await countsAtRest(lab), NOTHING);
  t.strictSame(await listImports(site.paths), [], "and nothing is remembered");
  t.strictSame((await site.gc()).rows, []);
}

await t.test("what a killed restore has left is found and removed, once", async (t) => {
  const { vm: half } = await killedRestore();
  t.match(await site.gc({ dryRun: true }), { exit: "leftover", rows: ["cold01 dead-local would-remove"] });
  const younger = { allHosts: false, olderThanMs: 3_600_000 };
  t.match(await site.gc({ rules: younger }), { exit: "ok", rows: ["cold01 dead-local left"] });
  t.ok(database.has("VM", half), "so far nothing has changed");
  t.match(await site.gc(), { exit: "ok", rows: ["cold01 dead-local removed"], report: [{ kind: "import" }] });
  await leavesNothing(t);
});

await t.test("the same when the pool has forgotten the task, as after a restart", async (t) => {
  const { vm: half, task } = await killedRestore();
  database.delete("task", task);
  database.update("VM", half, { power_state: "Running" });
  t.match((await site.gc()).report, [{ action: "left", reason: /somebody uses it/ }]);
  database.update("VM", half, { power_state: "Halted" });
  const stop = lab.rules.add({ match: { method: "VM.destroy" }, action: { kind: "fault", name: "OPERATION_BLOCKED" } });
  t.match(await site.gc(), { exit: "leftover", rows: ["cold01 dead-local failed"] });
  stop();
  t.match(await site.gc(), { exit: "ok", rows: ["cold01 dead-local removed"] });
  await leavesNothing(t);
});

await t.test("a VM that is complete stays, whatever died", async (t) => {
  const { vm: whole, task } = await imported("");
  await died(task);
  t.strictSame((await site.gc()).rows, [], "the task says that it is complete");
  t.ok(database.has("VM", whole));
  await died(task, "sent");
  database.delete("task", task);
  t.match(await site.gc(), { exit: "ok", report: [{ action: "left", reason: /look whether the VM is whole/ }] });
  t.ok(database.has("VM", whole), "nobody knows whether it is");
  const [entry] = await listImports(site.paths);
  t.match(entry, { step: "sent", isLive: false });
  await stranger.imports?.remove(task, { signal: new AbortController().signal });
  t.strictSame((await site.gc()).rows, [], "gone by now, and forgotten");
  await leavesNothing(t);
});

await t.test("one that is complete by the time of its turn stays", async (t) => {
  const { vm: whole, task } = await imported("");
  await died(task);
  database.update("task", task, { status: "failure" });
  const now = (): boolean => {
    database.update("task", task, { status: "success" });
    return true;
  };
  const gc = await site.gc({}, now);
  t.match(gc, { exit: "ok", report: [{ kind: "import", action: "left", reason: /complete or gone by now/ }] });
  t.ok(database.has("VM", whole));
  await stranger.imports?.remove(task, { signal: new AbortController().signal });
  await leavesNothing(t);
});

await t.test("a record that died with its first line goes when it is old", async (t) => {
  const torn = join(site.paths.imports, "k3v9q2m7xa.import");
  await writeFile(torn, '{"url":"xen://po');
  await site.gc();
  t.ok(existsSync(torn), "its process may be about to lock it");
  const old = new Date(Date.now() - 2 * 3_600_000);
  await utimes(torn, old, old);
  await site.gc({ dryRun: true });
  t.ok(existsSync(torn));
  await site.gc();
  t.notOk(existsSync(torn));
});

await t.test("a record of a server that is not configured is told of", async (t) => {
  const facts = {
    url: "xen://pool.example.org",
    backup: "/b/web01.xva",
    task: "OpaqueRef:1",
    started: "2026-01-01T00:00:00Z",
  };
  await (await ImportRecord.create(site.paths, facts))[Symbol.asyncDispose]();
  t.match(await site.gc(), { exit: "partial", report: [{ kind: "import", server: facts.url, action: "unasked" }] });
  t.strictSame((await site.gc({ servers: ["lab"] })).rows, [], "nobody asked about it");
  const [entry] = await listImports(site.paths);
  await eraseImport(site.paths, entry?.id ?? "");
});

await t.test("what another host has begun goes only when asked for, and when it has failed", async (t) => {
  const mark = describeImport({ host: "elsewhere", hostId: "00", created: new Date(0).toISOString() });
  const { vm: theirs, task } = await imported(mark);
  database.update("task", task, { status: "pending" });
  t.match((await site.gc({ rules: { allHosts: true, olderThanMs: 0 } })).report, [
    { action: "left", reason: /at work/ },
  ]);
  database.update("task", task, { status: "failure" });
  t.match((await site.gc()).report, [
    { class: "foreign-host", host: "elsewhere", action: "left", reason: /--all-hosts/ },
  ]);
  t.ok(database.has("VM", theirs));
  const all = { allHosts: true, olderThanMs: 3_600_000 };
  t.match((await site.gc({ rules: all })).rows, ["cold01 foreign-host removed"]);
  await leavesNothing(t);
});
