import t from "tap";
import { errorFacts } from "../../../src/errors.js";
import type { Progress } from "../../../src/hypervisor.js";
import { connectScripted } from "../../fixtures/vsphere/connect-scripted.js";
import {
  objectContent,
  type Script,
  type ScriptedReply,
  startScriptedVcenter,
  taskInfo,
  val,
} from "../../fixtures/vsphere/scripted-vcenter.js";

const { signal } = new AbortController();
const SPEC = { name: "vmmount 0001", description: "d", quiesce: false };
const TASK = '<returnval type="Task">task-1</returnval>';
const DONE = "<state>success</state>";
const RUNNING = "<state>running</state><progress>40</progress>";

function tree(...names: readonly string[]): string {
  const nodes = names.map(
    (name, index) =>
      `<rootSnapshotList><snapshot type="VirtualMachineSnapshot">snapshot-${index + 1}</snapshot><vm type="VirtualMachine">vm-1</vm>` +
      `<name>${name}</name><description>d</description><id>1</id><createTime>2026-01-02T03:04:05.678901Z</createTime>` +
      `<state>poweredOn</state><quiesced>true</quiesced></rootSnapshotList>`,
  );
  if (nodes.length === 0) return `<returnval>${objectContent("VirtualMachine", "vm-1", {})}</returnval>`;
  return `<returnval>${objectContent("VirtualMachine", "vm-1", { snapshot: val("VirtualMachineSnapshotInfo", nodes.join("")) })}</returnval>`;
}

/** Answers property reads by the path that is asked for. */
function reads(answers: Readonly<Record<string, () => ScriptedReply>>): Script {
  return {
    RetrievePropertiesEx: ({ body }) => {
      const path = Object.keys(answers).find((name) => body.includes(`<pathSet>${name}</pathSet>`));
      return answers[path ?? ""]?.() ?? "";
    },
  };
}

function taskFault(fault: string, more = ""): string {
  return taskInfo(
    `<state>error</state><error><fault xsi:type="${fault}">${more}</fault><localizedMessage>It failed.</localizedMessage></error>`,
  );
}

async function failureOf(promise: Promise<unknown>) {
  return errorFacts(
    await promise.then(
      () => undefined,
      (error: unknown) => error,
    ),
  );
}

const CREATED = `<state>success</state><result xsi:type="ManagedObjectReference" type="VirtualMachineSnapshot">snapshot-1</result>`;

await t.test("quiescing uses the newer call, with its time limit", async (t) => {
  await using vcenter = await startScriptedVcenter({
    ...reads({ info: () => taskInfo(CREATED), snapshot: () => tree(SPEC.name) }),
    CreateSnapshotEx_Task: () => TASK,
  });
  await using server = await connectScripted(vcenter, { limits: { quiesceMinutes: 7 } });
  const snapshot = await server.createSnapshot("vm-1", { ...SPEC, quiesce: true }, { signal });
  t.match(snapshot, { ref: "snapshot-1", name: SPEC.name, quiesced: true, depth: 1 });
  t.equal(snapshot.createdAt.toISOString(), "2026-01-02T03:04:05.678Z");
  t.match(vcenter.calls.find(({ method }) => method === "CreateSnapshotEx_Task")?.body, "<timeout>7</timeout>");
});

await t.test("progress of a long task comes from held calls on a collector of its own", async (t) => {
  let waits = 0;
  const update = (fields: string): string =>
    `<returnval><version>${++waits}</version><filterSet><filter type="PropertyFilter">f</filter><objectSet><kind>modify</kind>` +
    `<obj type="Task">task-1</obj><changeSet><name>info</name><op>assign</op>${val("TaskInfo", fields)}</changeSet></objectSet></filterSet></returnval>`;
  await using vcenter = await startScriptedVcenter({
    ...reads({ info: () => taskInfo("<state>queued</state>"), snapshot: () => tree(SPEC.name) }),
    CreateSnapshot_Task: () => TASK,
    CreatePropertyCollector: () => '<returnval type="PropertyCollector">pc-2</returnval>',
    CreateFilter: () => '<returnval type="PropertyFilter">f</returnval>',
    WaitForUpdatesEx: ({ count }) => (count === 1 ? update(RUNNING) : count === 2 ? "" : update(CREATED)),
    DestroyPropertyCollector: () => "",
  });
  await using server = await connectScripted(vcenter);
  const seen: Progress[] = [];
  await server.createSnapshot("vm-1", SPEC, { signal, onProgress: (progress) => seen.push(progress) });
  t.strictSame(
    seen.map(({ percent }) => percent),
    [undefined, 40],
  );
  t.match(seen[0]?.what, "Creating snapshot");
  const waited = vcenter.calls.filter(({ method }) => method === "WaitForUpdatesEx").map(({ body }) => body);
  t.match(waited[0], "<version></version>");
  t.match(waited[2], "<version>1</version>");
  t.match(waited[0], ">pc-2<");
  t.ok(vcenter.methods().includes("DestroyPropertyCollector"));
});

await t.test("a server without held calls is polled", async (t) => {
  let polls = 0;
  await using vcenter = await startScriptedVcenter({
    ...reads({ info: () => taskInfo(++polls < 4 ? RUNNING : CREATED), snapshot: () => tree(SPEC.name) }),
    CreateSnapshot_Task: () => TASK,
  });
  await using server = await connectScripted(vcenter, { limits: { taskPollMs: 1 } });
  t.equal((await server.createSnapshot("vm-1", SPEC, { signal })).ref, "snapshot-1");
  t.equal(polls, 4);
});

await t.test("a lost answer: the snapshot is found by its name and not made twice", async (t) => {
  await using vcenter = await startScriptedVcenter({
    ...reads({ snapshot: () => tree("other", SPEC.name) }),
    CreateSnapshot_Task: () => ({ end: "lost" }),
  });
  await using server = await connectScripted(vcenter);
  t.equal((await server.createSnapshot("vm-1", SPEC, { signal })).ref, "snapshot-2");
  t.equal(vcenter.methods().filter((method) => method === "CreateSnapshot_Task").length, 1);
});

await t.test("a lost answer: a call that never arrived is repeated once", async (t) => {
  let made = false;
  await using vcenter = await startScriptedVcenter({
    ...reads({ info: () => taskInfo(CREATED), snapshot: () => (made ? tree(SPEC.name) : tree()) }),
    CreateSnapshot_Task: ({ count }) => {
      made = count === 2;
      return made ? TASK : { end: "lost" };
    },
  });
  await using server = await connectScripted(vcenter);
  t.equal((await server.createSnapshot("vm-1", SPEC, { signal })).ref, "snapshot-1");
});

await t.test("a lost answer: a snapshot task that still runs is waited for", async (t) => {
  let polls = 0;
  const running = "<descriptionId>VirtualMachine.createSnapshot</descriptionId>";
  const recent = val(
    "ArrayOfManagedObjectReference",
    '<ManagedObjectReference type="Task">task-1</ManagedObjectReference>',
  );
  await using vcenter = await startScriptedVcenter({
    ...reads({
      recentTask: () => `<returnval>${objectContent("VirtualMachine", "vm-1", { recentTask: recent })}</returnval>`,
      info: () => taskInfo(running + (++polls < 4 ? RUNNING : DONE)),
      snapshot: () => (polls < 4 ? tree() : tree(SPEC.name)),
    }),
    CreateSnapshot_Task: () => ({ end: "lost" }),
  });
  await using server = await connectScripted(vcenter, { limits: { taskPollMs: 1 } });
  t.equal((await server.createSnapshot("vm-1", SPEC, { signal })).ref, "snapshot-1");
  t.equal(vcenter.methods().filter((method) => method === "CreateSnapshot_Task").length, 1);
});

await t.test("faults of the task say what a caller can do", async (t) => {
  const message =
    "<faultMessage><key>msg.snapshot.error-QUIESCINGERROR</key><message>Guest timed out.</message></faultMessage>";
  const cases = [
    ["ApplicationQuiesceFault", true, "", "QuiesceError", 72, true],
    ["FilesystemQuiesceFault", true, "", "QuiesceError", 72, true],
    ["GenericVmConfigFault", true, message, "QuiesceError", 72, true],
    ["GenericVmConfigFault", false, "", "SnapshotError", 71, true],
    ["TaskInProgress", false, "", "SnapshotError", 71, true],
    ["InvalidPowerState", false, "", "SnapshotError", 71, false],
    ["TooManySnapshotLevels", true, "", "SnapshotError", 71, false],
    ["NoDiskSpace", false, "", "SnapshotError", 71, false],
    ["NoPermission", false, "", "AuthError", 77, false],
    ["RestrictedVersion", false, "", "MissingCapabilityError", 69, false],
  ] as const;
  for (const [fault, quiesce, more, kind, code, retryable] of cases) {
    await using vcenter = await startScriptedVcenter({
      ...reads({ info: () => taskFault(fault, more) }),
      CreateSnapshot_Task: () => TASK,
      CreateSnapshotEx_Task: () => TASK,
    });
    await using server = await connectScripted(vcenter);
    const facts = await failureOf(server.createSnapshot("vm-1", { ...SPEC, quiesce }, { signal }));
    t.match(facts, { kind, code, retryable }, fault);
    if (more !== "") t.match(facts.message, "Guest timed out");
  }
});

await t.test("an abort cancels the task and waits until it has ended", async (t) => {
  const aborting = new AbortController();
  const reason = new Error("changed my mind");
  let cancelled = false;
  await using vcenter = await startScriptedVcenter({
    ...reads({ info: () => (cancelled ? taskFault("RequestCanceled") : taskInfo(RUNNING)) }),
    CreateSnapshot_Task: () => TASK,
    CancelTask: () => {
      cancelled = true;
      return "";
    },
  });
  await using server = await connectScripted(vcenter, { limits: { taskPollMs: 1 } });
  const onProgress = (): void => {
    aborting.abort(reason);
  };
  await t.rejects(server.createSnapshot("vm-1", SPEC, { signal: aborting.signal, onProgress }), reason);
  t.equal(cancelled, true);
  t.match(
    vcenter.calls.slice(-2).map(({ method }) => method),
    ["CancelTask", "RetrievePropertiesEx"],
  );
});

const OWNER = `<returnval>${objectContent("VirtualMachineSnapshot", "snapshot-1", { vm: '<val xsi:type="ManagedObjectReference" type="VirtualMachine">vm-1</val>' })}</returnval>`;

function needed(value: boolean): string {
  const values = { "runtime.consolidationNeeded": val("xsd:boolean", String(value)) };
  return `<returnval>${objectContent("VirtualMachine", "vm-1", values)}</returnval>`;
}

await t.test("disks that stay behind are consolidated once", async (t) => {
  for (const outcome of ["merged", "needed"] as const) {
    let consolidated = false;
    await using vcenter = await startScriptedVcenter({
      ...reads({
        info: () => taskInfo(DONE),
        "runtime.consolidationNeeded": () => needed(!(consolidated && outcome === "merged")),
      }),
      ConsolidateVMDisks_Task: () => {
        consolidated = true;
        return TASK;
      },
    });
    await using server = await connectScripted(vcenter);
    t.equal(await server.consolidate("vm-1", { signal }), outcome);
    t.equal(vcenter.methods().filter((method) => method === "ConsolidateVMDisks_Task").length, 1);
  }
});

await t.test("a consolidation whose task the server has forgotten is judged by the VM", async (t) => {
  let looks = 0;
  await using vcenter = await startScriptedVcenter({
    ...reads({
      info: () => ({ fault: "ManagedObjectNotFound", fields: '<obj type="Task">task-1</obj>' }),
      "runtime.consolidationNeeded": () => needed(looks++ === 0),
    }),
    ConsolidateVMDisks_Task: () => TASK,
  });
  await using server = await connectScripted(vcenter);
  t.equal(await server.consolidate("vm-1", { signal }), "merged");
});

await t.test("a consolidation that nobody may start, or that fails, says why", async (t) => {
  for (const [fault, expected] of [
    ["NoPermission", { kind: "AuthError", retryable: false }],
    ["FileLocked", { kind: "BusyError", retryable: true, message: /Cannot consolidate the disks of vm-1: Locked/ }],
  ] as const) {
    await using vcenter = await startScriptedVcenter({
      ...reads({ "runtime.consolidationNeeded": () => needed(true) }),
      ConsolidateVMDisks_Task: () => ({ fault, text: "Locked." }),
    });
    await using server = await connectScripted(vcenter);
    t.match(await failureOf(server.consolidate("vm-1", { signal })), expected, fault);
  }
});

await t.test("removal: a snapshot that is gone is a success, whoever notices", async (t) => {
  const gone = {
    fault: "ManagedObjectNotFound",
    fields: '<obj type="VirtualMachineSnapshot">snapshot-1</obj>',
  } as const;
  await using never = await startScriptedVcenter({ RetrievePropertiesEx: () => gone });
  await using first = await connectScripted(never);
  await first.removeSnapshot("snapshot-1", { signal });
  t.notOk(never.methods().includes("RemoveSnapshot_Task"));

  await using meanwhile = await startScriptedVcenter({
    ...reads({ vm: () => OWNER, snapshot: () => tree() }),
    RemoveSnapshot_Task: () => gone,
  });
  await using second = await connectScripted(meanwhile);
  await second.removeSnapshot("snapshot-1", { signal });

  await using forgotten = await startScriptedVcenter({
    ...reads({ vm: () => OWNER, snapshot: () => tree("still here") }),
    RemoveSnapshot_Task: () => gone,
  });
  await using third = await connectScripted(forgotten);
  t.match(await failureOf(third.removeSnapshot("snapshot-1", { signal })), {
    kind: "HypervisorFaultError",
    retryable: true,
  });
});

await t.test("removal: a busy VM is a busy error, to be tried again", async (t) => {
  await using vcenter = await startScriptedVcenter({
    ...reads({
      vm: () => OWNER,
      recentTask: () =>
        `<returnval>${objectContent("VirtualMachine", "vm-1", { recentTask: val("ArrayOfManagedObjectReference", "") })}</returnval>`,
    }),
    RemoveSnapshot_Task: () => ({ fault: "TaskInProgress", text: "Another task is already in progress." }),
  });
  await using server = await connectScripted(vcenter);
  const facts = await failureOf(server.removeSnapshot("snapshot-1", { signal }));
  t.match(facts, { kind: "BusyError", retryable: true, message: /Cannot remove snapshot snapshot-1: Another task/ });
});

await t.test("removal: a task of the VM that is under way is waited for, however long it takes", async (t) => {
  const recent = val(
    "ArrayOfManagedObjectReference",
    '<ManagedObjectReference type="Task">task-7</ManagedObjectReference>',
  );
  const running = "<descriptionId>vim.vm.Snapshot.remove</descriptionId>";
  let polls = 0;
  let calls = 0;
  await using vcenter = await startScriptedVcenter({
    ...reads({
      vm: () => OWNER,
      recentTask: () => `<returnval>${objectContent("VirtualMachine", "vm-1", { recentTask: recent })}</returnval>`,
      info: () => taskInfo(running + (++polls < 20 ? RUNNING : DONE)),
      snapshot: () => tree(),
    }),
    // Our own removal, whose answer was lost: afterwards the snapshot is gone.
    RemoveSnapshot_Task: () =>
      ++calls === 1
        ? { fault: "TaskInProgress", text: "Another task is already in progress." }
        : { fault: "ManagedObjectNotFound", fields: '<obj type="VirtualMachineSnapshot">snapshot-1</obj>' },
  });
  await using server = await connectScripted(vcenter, { limits: { taskPollMs: 1 } });
  await server.removeSnapshot("snapshot-1", { signal });
  t.equal(calls, 2);
  t.ok(polls >= 20);
});
