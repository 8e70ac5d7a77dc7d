import { constants, existsSync } from "node:fs";
import { mkdir, open, readFile } from "node:fs/promises";
import { join } from "node:path";
import t, { type Test } from "tap";
import { errorFacts } from "../../src/errors.js";
import type { Hypervisor } from "../../src/hypervisor.js";
import { writeMachineFiles } from "../../src/lab/init/machine-files.js";
import { type Lab, startLab } from "../../src/lab/lab.js";
import { connectVsphere, type ConnectOptions } from "../../src/vsphere/connect.js";
import { hypervisorContract } from "../fixtures/contract/hypervisor.js";
import { recordingLogger } from "../fixtures/recording-logger.js";
import { scratch } from "../fixtures/scratch.js";

/** Our client and our stand-in server share no protocol code: each is a check of the other. */
const { signal } = new AbortController();
const DISK_BYTES = 256 * 1024;
const SPEC = { name: "vmmount test", description: "d", quiesce: true };

interface OneMachine {
  readonly lab: Lab;
  readonly folder: string;
}

/** A lab with one running machine that has one small disk. */
async function oneMachine(t: Test): Promise<OneMachine> {
  const directory = scratch(t);
  const folder = join(directory, "ds1", "web01");
  await mkdir(folder, { recursive: true });
  await writeDisk(folder, new Uint8Array(DISK_BYTES));
  await writeMachineFiles({
    folder,
    stem: "web01",
    displayName: "web01",
    annotation: "",
    controller: "scsi0",
    disks: [{ node: "scsi0:0", stem: "web01", size: DISK_BYTES }],
  });
  const { logger } = recordingLogger();
  const lab = await startLab({ directory, listen: { host: "127.0.0.1", port: 0 }, logger });
  t.teardown(() => lab.close());
  return { lab, folder };
}

/** Into the file that is there: the lab has it open. Zeros become holes, as in a thin disk. */
async function writeDisk(folder: string, content: Uint8Array): Promise<void> {
  await using file = await open(join(folder, "web01-flat.vmdk"), constants.O_CREAT | constants.O_RDWR);
  await file.truncate(0);
  await file.truncate(content.length);
  for (let at = 0; at < content.length; at += 4096) {
    const block = content.subarray(at, at + 4096);
    if (block.some((byte) => byte !== 0)) await file.write(block, 0, block.length, at);
  }
}

async function connect(lab: Lab, more: Partial<ConnectOptions> = {}): Promise<Hypervisor> {
  const { url, user, password, fingerprint } = lab;
  const { logger } = recordingLogger();
  return connectVsphere({ url, user, password, tls: { fingerprint, insecure: false }, logger, signal, ...more });
}

await t.test("contract", async (t) => {
  const { lab, folder } = await oneMachine(t);
  const vm = lab.vm("web01");
  await hypervisorContract(t, {
    connect: () => connect(lab),
    connectWithWrongPassword: () => connect(lab, { password: "wrong" }),
    vm: {
      name: "web01",
      path: "/dc1/web01",
      instanceUuid: vm.instanceUuid,
      biosUuid: vm.biosUuid,
      configPath: "[ds1] web01/web01.vmx",
      address: undefined,
      configFiles: ["web01.vmx", "web01.nvram"],
      configText: await readFile(join(folder, "web01.vmx"), "utf8"),
      diskNode: "scsi0-0",
      diskSize: DISK_BYTES,
    },
    vmCount: 1,
    writeDisk: (content) => writeDisk(folder, content),
    knowsAllocation: true,
    expireSessions: () => {
      lab.expireSessions();
      return Promise.resolve();
    },
  });
});

await t.test("the certificate as CA is trusted, host name and all", async (t) => {
  const { lab } = await oneMachine(t);
  const ca = await readFile(lab.certificatePath, "utf8");
  await using server = await connect(lab, { tls: { ca, insecure: false } });
  t.equal(server.identity.url, lab.url);
});

await t.test("pages, held tasks and a snapshot call whose answer is lost", async (t) => {
  const { lab } = await oneMachine(t);
  lab.rules.configure({ pageSize: 1 });
  lab.rules.add({ match: { method: "CreateSnapshotEx_Task" }, count: 1, action: { kind: "drop", when: "after" } });
  lab.rules.add({ action: { kind: "taskDuration", ms: 50 } });
  await using server = await connect(lab);
  const [vm] = await server.findVms({ kind: "any" }, { signal });
  const snapshot = await server.createSnapshot(vm!.ref, SPEC, { signal });
  t.strictSame(lab.vm("web01").snapshots, [{ ref: snapshot.ref, name: SPEC.name, quiesced: true }]);
  await server.removeSnapshot(snapshot.ref, { signal });
  t.strictSame(lab.vm("web01").snapshots, []);
});

await t.test("links that a removal left behind are merged by a consolidation", async (t) => {
  const { lab, folder } = await oneMachine(t);
  lab.rules.add({ match: { method: "RemoveSnapshot_Task" }, action: { kind: "skipConsolidation" } });
  await using server = await connect(lab);
  const { ref } = lab.vm("web01");
  const snapshot = await server.createSnapshot(ref, SPEC, { signal });
  await server.removeSnapshot(snapshot.ref, { signal });
  const delta = join(folder, "web01-000001.vmdk");
  const isNeeded = async () => (await server.describeVm(ref, { signal })).consolidationNeeded;
  t.same([await isNeeded(), existsSync(delta)], [true, true]);

  const match = { method: "ConsolidateVMDisks_Task" };
  const kinds: [string, Parameters<typeof lab.rules.add>[0]["action"], object | string][] = [
    ["busy", { kind: "fault", name: "TaskInProgress" }, { kind: "BusyError", retryable: true }],
    ["a locked file", { kind: "fault", name: "FileLocked", where: "task" }, { kind: "BusyError", retryable: true }],
    [
      "a full datastore",
      { kind: "fault", name: "NoDiskSpace", where: "task" },
      { kind: "HypervisorFaultError", retryable: false },
    ],
    ["needed again", { kind: "skipConsolidation" }, "needed"],
    ["its answer is lost", { kind: "drop", when: "before" }, { kind: "UnreachableError", retryable: true }],
  ];
  for (const [what, action, expected] of kinds) {
    const undo = lab.rules.add({ match, action });
    const outcome = await server.consolidate(ref, { signal }).catch(errorFacts);
    t.match(outcome, expected, what);
    t.ok(undo() >= 1);
    t.same([await isNeeded(), existsSync(delta)], [true, true], `${what}: nothing is merged`);
  }
  const progress: (number | undefined)[] = [];
  lab.rules.add({ match, action: { kind: "taskDuration", ms: 300 } });
  const onProgress = ({ what, percent }: { what: string; percent: number | undefined }): void => {
    t.equal(what, "Consolidating disks");
    progress.push(percent);
  };
  t.equal(await server.consolidate(ref, { signal, onProgress }), "merged");
  t.ok(progress.length > 0, "it is waited for with progress");
  t.same([await isNeeded(), existsSync(delta)], [false, false]);
  t.equal(await server.consolidate(ref, { signal }), "unneeded", "twice is harmless");
});

await t.test("a second snapshot makes the disk a delta, which https cannot read", async (t) => {
  const { lab } = await oneMachine(t);
  await using server = await connect(lab);
  const { ref } = lab.vm("web01");
  await server.createSnapshot(ref, { ...SPEC, name: "older" }, { signal });
  const newer = await server.createSnapshot(ref, SPEC, { signal });
  const [disk] = (await server.describeVm(ref, { signal, snapshot: newer.ref })).disks;
  t.equal(disk?.parents.length, 1);
  const error: unknown = await server
    .openDisk({ vm: ref, snapshot: newer.ref, disk: disk! }, { signal })
    .catch((error: unknown) => error);
  t.match(errorFacts(error), {
    kind: "MissingCapabilityError",
    message: /its link \[ds1\] web01\/web01-000001\.vmdk is a/,
  });
});

await t.test("faults and failures of the data path say whether to try again", async (t) => {
  const { lab } = await oneMachine(t);
  await using server = await connect(lab);
  const { ref } = lab.vm("web01");
  const cases = [
    [{ kind: "fault", name: "HostNotConnected" }, "SnapshotError", true],
    [{ kind: "fault", name: "ApplicationQuiesceFault", where: "task" }, "QuiesceError", true],
    [{ kind: "fault", name: "RestrictedVersion" }, "MissingCapabilityError", false],
    [{ kind: "status", status: 503 }, "UnreachableError", true],
  ] as const;
  for (const [action, kind, retryable] of cases) {
    const remove = lab.rules.add({ match: { method: "CreateSnapshotEx_Task" }, action: { ...action } });
    const error: unknown = await server.createSnapshot(ref, SPEC, { signal }).catch((error: unknown) => error);
    t.match(errorFacts(error), { kind, retryable }, JSON.stringify(action));
    remove();
  }
});
