import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import t from "tap";
import { writeMachineFiles } from "../../../src/lab/init/machine-files.js";
import { startLab } from "../../../src/lab/lab.js";
import { silentLogger } from "../../../src/log.js";
import { connectVsphere } from "../../../src/vsphere/connect.js";
import { GarbageSite } from "../../fixtures/gc/garbage-site.js";
import {
  endsDeadSessions,
  givesUpOnSilence,
  judgesByMarks,
  leavesOtherMachines,
  tellsOfServers,
} from "../../fixtures/gc/laws.js";
import { scratch } from "../../fixtures/scratch.js";

/** What `vmmount gc` does with one vCenter; the subtests follow each other. */
const { signal } = new AbortController();
const DISK_BYTES = 256 * 1024;
const directory = scratch(t);
const datastore = join(directory, "ds1");
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
const lab = await startLab({ directory, listen: { host: "127.0.0.1", port: 0 }, logger: silentLogger() });
t.teardown(() => lab.close());
const vm = lab.vm("tiny");
const { url, user, password, fingerprint } = lab;
const tls = { fingerprint, insecure: false };
const stranger = await connectVsphere({ url, user, password, tls, logger: silentLogger(), signal });
t.teardown(() => stranger[Symbol.asyncDispose]());
const site = await GarbageSite.make(t, {
  access: lab,
  stranger,
  vm: { ref: vm.ref, name: "tiny", path: "/dc1/tiny" },
  snapshots: () => vm.snapshots.map(({ name }) => name),
  breakRemovals: () => {
    const action = { kind: "fault", name: "NoDiskSpace", where: "task" } as const;
    return lab.rules.add({ match: { method: "RemoveSnapshot_Task" }, action });
  },
  extra: `[server.folder]\nurl = "dir://${datastore}"\n`,
});

await t.test("snapshots on the server are judged by their marks", async (t) => {
  await judgesByMarks(t, site, () => {
    lab.rules.add({ match: { method: "RemoveSnapshot_Task" }, count: 1, action: { kind: "skipConsolidation" } });
  });
  t.equal((await stranger.describeVm(vm.ref, { signal })).consolidationNeeded, false, "its deltas are merged");
});

await t.test("a dead session of the journal: kept while it cannot be cleaned up, then gone", (t) =>
  endsDeadSessions(t, site),
);

await t.test("a session of another machine, whose journal was copied, is left alone", (t) =>
  leavesOtherMachines(t, site),
);

await t.test("a server that never answers is given up after the time that a call may take", (t) =>
  givesUpOnSilence(t, site, () =>
    lab.rules.add({ match: { method: "RetrievePropertiesEx" }, action: { kind: "hang" } }),
  ),
);

await t.test("a server that cannot be asked is a row", async (t) => {
  await tellsOfServers(t, site, "https://127.0.0.1:9");
  t.equal(lab.traffic.report().sessions, 1, "all but this test's own have logged out");
});
