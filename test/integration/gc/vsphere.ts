import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import t from "tap";
import { loadConfig } from "../../../src/config.js";
import { errorFacts } from "../../../src/errors.js";
import { collectGarbage } from "../../../src/gc/collect.js";
import { exitOf } from "../../../src/gc/report.js";
import type { GcOptions } from "../../../src/gc/site.js";
import { writeMachineFiles } from "../../../src/lab/init/machine-files.js";
import { startLab } from "../../../src/lab/lab.js";
import { silentLogger } from "../../../src/log.js";
import { StatePaths } from "../../../src/mount/state-paths.js";
import { thisHost } from "../../../src/snapshot/host.js";
import { FileJournal } from "../../../src/snapshot/journal.js";
import { describeOwnership, type Ownership, snapshotName } from "../../../src/snapshot/ownership.js";
import { connectVsphere } from "../../../src/vsphere/connect.js";
import { scratch } from "../../fixtures/scratch.js";

/** What `vmmount gc` does with one vCenter; the subtests follow each other. */
const { signal } = new AbortController();
const DISK_BYTES = 256 * 1024;
const WEEK_MS = 7 * 86_400_000;
const directory = scratch(t);
const datastore = join(directory, "lab", "ds1");
const folder = join(datastore, "tiny");
mkdirSync(folder, { recursive: true });
writeFileSync(join(folder, "disk-flat.vmdk"), Buffer.alloc(DISK_BYTES, 7));
await writeMachineFiles({
  folder,
  stem: "tiny",
  displayName: "tiny",
  annotation: "",
  controller: "scsi0",
  disks: [{ node: "scsi0:0", stem: "disk", size: DISK_BYTES }],
});
const listen = { host: "127.0.0.1", port: 0 };
const lab = await startLab({ directory: join(directory, "lab"), listen, logger: silentLogger() });
t.teardown(() => lab.close());
const vm = lab.vm("tiny");
const stranger = await connectVsphere({
  url: lab.url,
  user: lab.user,
  password: lab.password,
  tls: { fingerprint: lab.fingerprint, insecure: false },
  logger: silentLogger(),
  signal,
});
t.teardown(() => stranger[Symbol.asyncDispose]());
const file = join(directory, "config.toml");
writeFileSync(
  file,
  `[server.lab]
url = "${lab.url}"
user = "${lab.user}"
password_file = "${lab.passwordPath}"
fingerprint = "${lab.fingerprint}"
[server.folder]
url = "dir://${datastore}"
[state]
dir = "${join(directory, "state")}"
[runtime]
dir = "${join(directory, "run")}"
[retry]
max = 1
backoff = "50ms"
`,
  { mode: 0o600 },
);
const config = loadConfig({ file, env: {}, flags: [] });
const paths = new StatePaths(config.settings);

async function gc(own: Partial<GcOptions> = {}): Promise<{ exit: string; rows: string[] }> {
  const options: GcOptions = {
    config,
    paths,
    choice: { credential: { env: {} } },
    logger: silentLogger(),
    signal,
    onProgress: () => undefined,
    servers: [],
    rules: { allHosts: false, olderThanMs: undefined },
    dryRun: false,
    consolidate: false,
    ...own,
  };
  const report = await collectGarbage(options, () => Promise.resolve(true));
  return { exit: exitOf(report), rows: report.rows.map((row) => `${row.name} ${row.class ?? "-"} ${row.action}`) };
}

async function plant(session: string, own: Partial<Ownership> = {}): Promise<void> {
  const made = { session, version: "1", mountPoint: "/m", created: new Date().toISOString() };
  const description = describeOwnership({ ...thisHost(), ...made, ...own });
  await stranger.createSnapshot(vm.ref, { name: snapshotName(session), description, quiesce: false }, { signal });
}

function left(): string[] {
  return vm.snapshots.map(({ name }) => name);
}

await t.test("snapshots on the server are judged by their marks", async (t) => {
  await plant("bbbbbbbbbb");
  await plant("cccccccccc", { host: "elsewhere", hostId: "00", maxAgeMs: WEEK_MS });
  await plant("dddddddddd", { policy: "createonly", maxAgeMs: WEEK_MS });
  await plant("eeeeeeeeee", { policy: "createonly", maxAgeMs: 1 });
  for (const name of ["vmmount-ffffffffff", "before upgrade"]) {
    await stranger.createSnapshot(vm.ref, { name, description: "", quiesce: false }, { signal });
  }
  const before = left();
  const rows = (act: string): string[] => [
    `vmmount-bbbbbbbbbb dead-local ${act}`,
    "vmmount-cccccccccc foreign-host left",
    "vmmount-dddddddddd kept left",
    `vmmount-eeeeeeeeee expired ${act}`,
    "vmmount-ffffffffff unknown left",
  ];
  t.strictSame(await gc({ dryRun: true }), { exit: "leftover", rows: rows("would-remove") });
  t.strictSame(left(), before, "a dry run does nothing");

  lab.rules.add({ match: { method: "RemoveSnapshot_Task" }, count: 1, action: { kind: "skipConsolidation" } });
  t.strictSame(await gc(), { exit: "ok", rows: rows("removed") });
  t.strictSame(left(), ["vmmount-cccccccccc", "vmmount-dddddddddd", "vmmount-ffffffffff", "before upgrade"]);
  t.equal((await stranger.describeVm(vm.ref, { signal })).consolidationNeeded, false, "its deltas are merged");
  t.equal((await gc()).exit, "ok", "twice is harmless");

  await gc({ rules: { allHosts: true, olderThanMs: 0 } });
  t.strictSame(left(), ["vmmount-dddddddddd", "vmmount-ffffffffff", "before upgrade"], "an unknown one never goes");
});

await t.test(
  "a dead session of the journal: kept while it cannot be cleaned up, then gone; two do not fight",
  async (t) => {
    const id = "gggggggggg";
    await plant(id);
    await paths.prepare();
    const { url, user, fingerprint } = lab;
    const server = { name: "lab", url, user, fingerprint, insecure: false };
    const facts = {
      mountPoint: "/m",
      host: "h",
      pid: process.pid,
      server,
      vm: { ref: vm.ref, name: "tiny", path: "/dc1/tiny" },
      snapshotName: snapshotName(id),
    };
    const journal = await FileJournal.create(paths.journal(id), id);
    await journal.append({ event: "planned", facts });
    await journal.append({ event: "creating", quiesce: false });
    await journal[Symbol.asyncDispose]();

    const action = { kind: "fault", name: "NoDiskSpace", where: "task" } as const;
    const undo = lab.rules.add({ match: { method: "RemoveSnapshot_Task" }, action });
    const failed = await gc();
    undo();
    t.equal(failed.exit, "leftover");
    t.ok(failed.rows.includes(`${id} dead-session failed`));

    const both = await Promise.allSettled([gc(), gc()]);
    const done = both.find((one) => one.status === "fulfilled");
    const refused = both.find((one) => one.status === "rejected");
    t.equal(done?.value.exit, "ok");
    t.ok(done?.value.rows.includes(`${id} dead-session removed`));
    t.match(errorFacts(refused?.reason), { name: "busy", message: /another vmmount gc is at work/ });
    t.notOk(left().includes(snapshotName(id)));
  },
);

await t.test("a server that cannot be asked is a row", async (t) => {
  const choice = { user: "nobody", credential: { env: {}, passwordFile: lab.passwordPath } };
  t.strictSame(await gc({ servers: ["lab", "https://127.0.0.1:9"], choice }), {
    exit: "partial",
    rows: ["lab - unasked", "127.0.0.1:9 - unasked"],
  });
  t.equal(lab.traffic.report().sessions, 1, "all but this test's own have logged out");
});
