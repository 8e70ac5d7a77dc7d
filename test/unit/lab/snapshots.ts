import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import t from "tap";
import { MIB } from "../../../src/units.js";
import { faultOf, LabClient, taskErrorOf } from "../../fixtures/lab-client.js";
import { testLab } from "../../fixtures/lab.js";

const DISK = 2000;
const running = await testLab(t);
const { directory } = running;
const VM = running.lab.vm("web01").ref;

await t.test("a snapshot stands still while its guest writes, and removal keeps what was written", async (t) => {
  const { lab } = running;
  const web01 = lab.vm("web01");
  const client = await LabClient.loggedIn(lab);
  const before = await web01.hashDisk(DISK, "now");
  const flat = () => readFile(join(web01.folder, "web01-flat.vmdk"));
  const flatBefore = await flat();
  const snapshot = await client.snapshot(VM, "first");
  const writing = web01.guest.startWriting({ diskKey: DISK, bytesPerSecond: 64 * MIB });
  while (writing.written().writes < 50) await new Promise((resolve) => setImmediate(resolve));
  t.equal(await web01.hashDisk(DISK, snapshot), before, "while it writes");
  const { writes } = await writing.stop();
  t.ok(writes >= 50);
  t.not(await web01.hashDisk(DISK, "now"), before);
  t.ok(flatBefore.equals(await flat()), "the frozen file has not changed");
  const now = await web01.hashDisk(DISK, "now");
  t.match(await client.removeSnapshot(snapshot), "<state>success</state>");
  t.equal(await web01.hashDisk(DISK, "now"), now);
  t.notOk((await readdir(web01.folder)).some((name) => name.includes("-00000")));
});

await t.test("changed areas: from one snapshot to the next, in answers of limited length", async (t) => {
  const { lab } = running;
  const web01 = lab.vm("web01");
  const client = await LabClient.loggedIn(lab);
  const changeIdAt = async (snapshot: string) => {
    const { text } = await client.read("VirtualMachineSnapshot", snapshot, `config.hardware.device[${DISK}].backing`);
    return /<changeId>([^<]+)</.exec(text)?.[1] ?? "";
  };
  const ask = (snapshot: string, offset: number, changeId: string, key = DISK) => {
    const inner =
      `<snapshot type="VirtualMachineSnapshot">${snapshot}</snapshot><deviceKey>${key}</deviceKey>` +
      `<startOffset>${offset}</startOffset><changeId>${changeId}</changeId>`;
    return client.call("QueryChangedDiskAreas", "VirtualMachine", VM, inner);
  };
  const first = await client.snapshot(VM, "first");
  for (const at of [0, 3 * MIB, 40 * MIB]) await web01.guest.write(DISK, at, Buffer.alloc(4096, 7));
  const second = await client.snapshot(VM, "second");
  const since = await changeIdAt(first);
  lab.rules.configure({ changedAreasMax: 2 });
  const page = await ask(second, 0, since);
  const length = 3 * MIB + 65536;
  t.match(page.text, `<startOffset>0</startOffset><length>${length}</length><changedArea><start>0</start>`);
  const rest = await ask(second, length, since);
  t.match(rest.text, `<startOffset>${length}</startOffset><length>${64 * MIB - length}</length>`);
  t.match(rest.text, `<changedArea><start>${40 * MIB}</start><length>65536</length></changedArea></returnval>`);
  lab.rules.configure({ changedAreasMax: 2000 });
  const all = await ask(second, 0, "*");
  const allocated = [...all.text.matchAll(/<start>\d+<\/start><length>(\d+)</g)].reduce(
    (sum, [, n]) => sum + Number(n),
    0,
  );
  t.ok(allocated > 2 * MIB && allocated < 32 * MIB, `${allocated} bytes are allocated`);
  const nowhere = (text: string) => faultOf({ status: 500, text });
  t.equal(nowhere((await ask(second, 0, "52 00/1")).text), "InvalidArgument", "foreign change id");
  t.equal(nowhere((await ask(second, 64 * MIB, since)).text), "InvalidArgument", "offset at the end");
  t.equal(nowhere((await ask(second, 0, since, 2002)).text), "InvalidArgument", "independent disk");
  t.equal(nowhere((await ask("snapshot-9999", 0, since)).text), "ManagedObjectNotFound");
  const bare = `<deviceKey>${DISK}</deviceKey><startOffset>0</startOffset><changeId>*</changeId>`;
  t.equal(faultOf(await client.call("QueryChangedDiskAreas", "VirtualMachine", VM, bare)), "FileFault", "running");
  await client.removeSnapshot(first);
  await client.removeSnapshot(second);
});

await t.test("the tree: removing from the middle, with children, all, and leaving links behind", async (t) => {
  const { lab } = running;
  const web01 = lab.vm("web01");
  const client = await LabClient.loggedIn(lab);
  const hashes: string[] = [];
  const refs: string[] = [];
  for (const name of ["a", "b", "c"]) {
    await web01.guest.write(DISK, MIB * (refs.length + 1), Buffer.alloc(512, name));
    hashes.push(await web01.hashDisk(DISK, "now"));
    refs.push(await client.snapshot(VM, name));
  }
  const [a = "", b = "", c = ""] = refs;
  const { text } = await client.read("VirtualMachine", VM, "snapshot", "layoutEx");
  t.match(text, /<name>a<\/name>.*<childSnapshotList>.*<name>b<\/name>.*<childSnapshotList>.*<name>c<\/name>/s);
  t.match(text, `<currentSnapshot type="VirtualMachineSnapshot">${c}</currentSnapshot>`);
  await client.removeSnapshot(b);
  t.strictSame(
    web01.snapshots.map(({ name }) => name),
    ["a", "c"],
  );
  t.equal(await web01.hashDisk(DISK, a), hashes[0]);
  t.equal(await web01.hashDisk(DISK, c), hashes[2], "the snapshot whose link was merged shows the same bytes");
  await client.task("RemoveSnapshot_Task", "VirtualMachineSnapshot", a, "<removeChildren>true</removeChildren>");
  t.strictSame(web01.snapshots, []);
  await client.snapshot(VM, "d");
  const undo = lab.rules.add({ match: { method: "RemoveAllSnapshots_Task" }, action: { kind: "skipConsolidation" } });
  t.match(await client.task("RemoveAllSnapshots_Task", "VirtualMachine", VM), "<state>success</state>");
  t.equal(undo(), 1);
  t.match((await client.read("VirtualMachine", VM, "runtime.consolidationNeeded")).text, ">true<");
  t.ok((await readdir(web01.folder)).includes("web01-000001.vmdk"));
  await client.task("ConsolidateVMDisks_Task", "VirtualMachine", VM);
  t.match((await client.read("VirtualMachine", VM, "runtime.consolidationNeeded")).text, ">false<");
  t.notOk((await readdir(web01.folder)).includes("web01-000001.vmdk"));
  t.equal(await web01.hashDisk(DISK, "now"), hashes[2]);
});

await t.test("what refuses a snapshot", async (t) => {
  const { lab } = running;
  const client = await LabClient.loggedIn(lab);
  const create = (name: string, memory: boolean) =>
    client.task(
      "CreateSnapshot_Task",
      "VirtualMachine",
      VM,
      `<name>${name}</name><memory>${memory}</memory><quiesce>false</quiesce>`,
    );
  t.equal(taskErrorOf(await create("", false)), "InvalidName");
  t.equal(taskErrorOf(await create("x".repeat(81), false)), "InvalidName");
  t.equal(taskErrorOf(await create("m", true)), "MemorySnapshotOnIndependentDisk");
  lab.rules.configure({ snapshotDepthMax: 1 });
  const one = await client.snapshot(VM, "one");
  t.equal(taskErrorOf(await create("two", false)), "TooManySnapshotLevels");
  lab.rules.configure({ snapshotDepthMax: 32 });
  lab.rules.add({
    match: { object: "web01", method: "RemoveSnapshot_Task" },
    count: 1,
    action: { kind: "taskDuration", ms: 60_000 },
  });
  await client.call("RemoveSnapshot_Task", "VirtualMachineSnapshot", one, "<removeChildren>false</removeChildren>");
  t.equal(taskErrorOf(await create("three", false)), "TaskInProgress", "one task at a time");
  const info = await client.read("VirtualMachine", VM, "recentTask");
  const task = [...info.text.matchAll(/>(task-\d+)</g)].at(-2)?.[1] ?? "";
  t.equal(faultOf(await client.call("CancelTask", "Task", task)), "NotSupported", "a removal cannot be cancelled");
});

await t.test("a quiescing that fails, and a task that is cancelled", async (t) => {
  const { lab } = running;
  await running.restart();
  const client = await LabClient.loggedIn(running.lab);
  t.not(running.lab, lab);
  running.lab.rules.add({
    match: { object: "web01", method: "CreateSnapshotEx_Task" },
    count: 1,
    action: { kind: "fault", name: "ApplicationQuiesceFault", where: "task" },
  });
  const quiesced = `<name>q</name><memory>false</memory><quiesceSpec xsi:type="VirtualMachineWindowsQuiesceSpec"><timeout>15</timeout></quiesceSpec>`;
  const failed = await client.task("CreateSnapshotEx_Task", "VirtualMachine", VM, quiesced);
  t.equal(taskErrorOf(failed), "ApplicationQuiesceFault");
  t.match(failed, /<localizedMessage>.*quiesc/);
  running.lab.rules.add({ match: { method: "CreateSnapshotEx_Task" }, action: { kind: "taskDuration", ms: 60_000 } });
  const started = await client.call("CreateSnapshotEx_Task", "VirtualMachine", VM, quiesced);
  const task = />(task-\d+)</.exec(started.text)?.[1] ?? "";
  t.equal((await client.call("CancelTask", "Task", task)).status, 200);
  let info = "";
  while (!/<state>error</.test(info)) info = (await client.read("Task", task, "info")).text;
  t.equal(taskErrorOf(info), "RequestCanceled");
});

await t.test("power, change tracking, and what the lab does not change", async (t) => {
  const client = await LabClient.loggedIn(running.lab);
  const reconfigure = (spec: string) => client.task("ReconfigVM_Task", "VirtualMachine", VM, `<spec>${spec}</spec>`);
  t.match(await reconfigure("<changeTrackingEnabled>false</changeTrackingEnabled>"), "<state>success</state>");
  t.match((await client.read("VirtualMachine", VM, "config.changeTrackingEnabled")).text, ">false<");
  await reconfigure("<changeTrackingEnabled>true</changeTrackingEnabled>");
  t.equal(taskErrorOf(await reconfigure("<numCPUs>4</numCPUs>")), "NotSupported");
  t.equal(taskErrorOf(await client.task("PowerOnVM_Task", "VirtualMachine", VM)), "InvalidPowerState");
  t.match(await client.task("PowerOffVM_Task", "VirtualMachine", VM), "<state>success</state>");
  await t.rejects(running.lab.vm("web01").guest.write(DISK, 0, Buffer.alloc(512)), /is not running/);
  const { text } = await client.read("VirtualMachine", VM, "guest");
  t.match(text, "guestToolsNotRunning");
  t.notMatch(text, "10.20.30.11");
  await client.task("PowerOnVM_Task", "VirtualMachine", VM);
});

await t.test("a restarted lab knows its snapshots and what has been written since", async (t) => {
  const client = await LabClient.loggedIn(running.lab);
  for (const { ref } of running.lab.vm("web01").snapshots) await client.removeSnapshot(ref);
  const before = await running.lab.vm("web01").hashDisk(DISK, "now");
  const snapshot = await client.snapshot(VM, "kept");
  await running.lab.vm("web01").guest.write(DISK, 8 * MIB, Buffer.alloc(512, 9));
  const lab = await running.restart();
  const web01 = lab.vm("web01");
  t.equal(web01.ref, VM);
  t.strictSame(web01.snapshots, [{ ref: snapshot, name: "kept", quiesced: false }]);
  t.equal(await web01.hashDisk(DISK, snapshot), before);
  t.match(await readFile(join(directory, "ds1/web01/web01.vmx"), "utf8"), `scsi0:0.fileName = "web01-000001.vmdk"`);
  const again = await LabClient.loggedIn(lab);
  const { text } = await again.read("VirtualMachineSnapshot", snapshot, `config.hardware.device[${DISK}].backing`);
  const changeId = /<changeId>([^<]+)</.exec(text)?.[1] ?? "";
  const second = await again.snapshot(VM, "second");
  const inner =
    `<snapshot type="VirtualMachineSnapshot">${second}</snapshot><deviceKey>${DISK}</deviceKey>` +
    `<startOffset>0</startOffset><changeId>${changeId}</changeId>`;
  const changed = await again.call("QueryChangedDiskAreas", "VirtualMachine", VM, inner);
  t.match(changed.text, `<changedArea><start>${8 * MIB}</start><length>65536</length></changedArea></returnval>`);
});
