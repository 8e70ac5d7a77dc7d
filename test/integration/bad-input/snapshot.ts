import t, { type Test } from "tap";
import type { RuleInput } from "../../../src/lab/rules.js";
import { addMachine } from "../../fixtures/host/lab-machine.js";
import { labDirectory, labIn } from "../../fixtures/host/lab-host.js";
import { ProxyHost } from "../../fixtures/host/proxy-host.js";
import { nothingLeft, refused, refusedJson } from "../../fixtures/host/refusals.js";

/** What a server can answer in place of a snapshot. */
const directory = await labDirectory(t);
await addMachine(directory, { folder: "tiny" });
const lab = await labIn(t, directory);

/** Both calls that create snapshots end like this; @returns a function that stops it and counts. */
function onCreate(action: RuleInput["action"], count?: number): () => number {
  const stops = ["CreateSnapshot_Task", "CreateSnapshotEx_Task"].map((method) =>
    lab.rules.add({ match: { method }, action, ...(count !== undefined && { count }) }),
  );
  return () => stops.reduce((sum, stop) => sum + stop(), 0);
}

async function hostFor(t: Test): Promise<ProxyHost> {
  t.teardown(() => {
    lab.rules.clear();
  });
  return ProxyHost.make(t, lab);
}

for (const where of ["call", "task"] as const) {
  void t.test(`a snapshot that the server refuses, as fault of the ${where}`, async (t) => {
    const host = await hostFor(t);
    const stop = onCreate({ kind: "fault", name: "TooManySnapshotLevels", where });
    const says = [/Cannot create a snapshot/, /TooManySnapshotLevels/];
    await refused(t, host, ["mount", "name:tiny", host.mountPoint], { exit: "snapshot", says });
    t.equal(stop(), 1, "what the server refuses for good is not repeated");
    await nothingLeft(t, host, lab);
  });

  void t.test(`a missing privilege, as fault of the ${where}`, async (t) => {
    const host = await hostFor(t);
    const fields = { privilegeId: "VirtualMachine.State.CreateSnapshot" };
    const stop = onCreate({ kind: "fault", name: "NoPermission", where, fields });
    await refusedJson(t, host, ["mount", "name:tiny", host.mountPoint], {
      exit: "auth",
      says: [/VirtualMachine\.State\.CreateSnapshot/, /lacks the privilege/],
      retryable: false,
    });
    t.equal(stop(), 1);
    await nothingLeft(t, host, lab);
  });

  void t.test(`a licence without snapshots, as fault of the ${where}`, async (t) => {
    const host = await hostFor(t);
    const stop = onCreate({ kind: "fault", name: "RestrictedVersion", where });
    await refused(t, host, ["mount", "name:tiny", host.mountPoint], { exit: "unavailable", says: /licence/ });
    t.equal(stop(), 1);
    await nothingLeft(t, host, lab);
  });

  void t.test(`another task on the VM, as fault of the ${where}: it is tried again`, async (t) => {
    const host = await hostFor(t);
    const stop = onCreate({ kind: "fault", name: "TaskInProgress", where }, 1);
    const mounted = await host.vmmount(["mount", "name:tiny", host.mountPoint]);
    t.equal(mounted.code, 0, mounted.stderr);
    t.match(mounted.stderr, /warning: Creating the snapshot failed .*TaskInProgress.*attempt 2/);
    t.equal(lab.vm("tiny").snapshots.length, 1);
    t.equal((await host.vmmount(["umount", host.mountPoint])).code, 0);
    t.equal(stop(), 1);
    await nothingLeft(t, host, lab);
  });
}

void t.test("another task that does not end", async (t) => {
  const host = await hostFor(t);
  const stop = onCreate({ kind: "fault", name: "TaskInProgress" });
  await refusedJson(t, host, ["mount", "name:tiny", host.mountPoint], {
    exit: "snapshot",
    says: /TaskInProgress/,
    retryable: true,
  });
  t.equal(stop(), 2, "retry.max = 1");
  await nothingLeft(t, host, lab);
});

void t.test("a full datastore", async (t) => {
  const host = await hostFor(t);
  onCreate({ kind: "fault", name: "NoDiskSpace", where: "task", fields: { datastore: "ds1" } });
  await refused(t, host, ["mount", "name:tiny", host.mountPoint], { exit: "snapshot", says: /NoDiskSpace/ });
  await nothingLeft(t, host, lab);
});

void t.test("the answer to the call is lost: the snapshot that was made is found and used", async (t) => {
  const host = await hostFor(t);
  onCreate({ kind: "drop", when: "after" }, 1);
  const mounted = await host.vmmount(["mount", "name:tiny", host.mountPoint]);
  t.equal(mounted.code, 0, mounted.stderr);
  t.equal(lab.vm("tiny").snapshots.length, 1, "there is one, not two");
  t.equal((await host.vmmount(["umount", host.mountPoint])).code, 0);
  await nothingLeft(t, host, lab);
});

void t.test("a failure after the snapshot was made removes it again", async (t) => {
  const host = await hostFor(t);
  lab.rules.add({ match: { method: "GET", path: "/folder/tiny/" }, action: { kind: "status", status: 403 } });
  const says = [/may not read datastore files/, /Datastore\.Browse/];
  await refused(t, host, ["mount", "name:tiny", host.mountPoint], { exit: "auth", says });
  await nothingLeft(t, host, lab);
});
