import { execFile } from "node:child_process";
import { existsSync, mkdirSync, realpathSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { promisify } from "node:util";
import t, { type Test } from "tap";
import { BusyError } from "../../../src/errors.js";
import { kernelFuseDriver } from "../../../src/fs/fuse/kernel-driver.js";
import type { Hypervisor, VmIdentity } from "../../../src/hypervisor.js";
import type { Lab } from "../../../src/lab/lab.js";
import { silentLogger } from "../../../src/log.js";
import { openHypervisor, prepareConnection } from "../../../src/mount/connection.js";
import { type ControlHandler, ControlServer } from "../../../src/mount/control-server.js";
import { StatePaths } from "../../../src/mount/state-paths.js";
import { unmountTarget, type UnmountOptions } from "../../../src/mount/unmount.js";
import { FileJournal } from "../../../src/snapshot/journal.js";
import type { JournalEvent, SessionFacts } from "../../../src/snapshot/journal-record.js";
import { describeOwnership, snapshotName } from "../../../src/snapshot/ownership.js";
import { bytes, MIB } from "../../../src/units.js";
import { labFor } from "../../fixtures/host/lab-host.js";
import { configIn } from "../../fixtures/mount/config.js";
import { labConfig } from "../../fixtures/mount/lab-config.js";
import { MemoryFileSystem } from "../../fixtures/memory-file-system.js";
import { recordingLogger } from "../../fixtures/recording-logger.js";
import { scratch } from "../../fixtures/scratch.js";
import { sessionFacts as anySessionFacts } from "../../fixtures/snapshot-facts.js";
import { failureOf } from "../../fixtures/snapshot-session.js";

const run = promisify(execFile);
/** Of this file alone: daemons are looked for in the process table and the list of sockets, which other tests share. */
const ID = "n0mn7kz4vt";
const { signal } = new AbortController();
const CREATING: JournalEvent = { event: "creating", quiesce: false };

function sessionFacts(own: Partial<SessionFacts> = {}): SessionFacts {
  return anySessionFacts({ snapshotName: snapshotName(ID), ...own });
}

interface Host {
  readonly options: UnmountOptions;
  readonly paths: StatePaths;
  readonly mountPoint: string;
  readonly lines: ReturnType<typeof recordingLogger>["lines"];
}

async function host(t: Test, lab?: Lab): Promise<Host> {
  const directory = realpathSync(scratch(t));
  const config = lab === undefined ? configIn(directory) : labConfig(directory, lab);
  const paths = new StatePaths(config.settings);
  await paths.prepare();
  const mountPoint = join(directory, "mnt");
  mkdirSync(mountPoint);
  const { logger, lines } = recordingLogger();
  const choice = { credential: { env: {} } };
  const options = { config, paths, choice, logger, force: false, onProgress: () => undefined };
  return { options, paths, mountPoint, lines };
}

/** The journal of a session, as its daemon holds it; dispose it and the daemon is dead. */
async function session(
  { paths }: Host,
  facts: SessionFacts,
  events: JournalEvent[] = [],
  id = ID,
): Promise<FileJournal> {
  const journal = await FileJournal.create(paths.journal(id), id);
  for (const event of [{ event: "planned", facts } as const, ...events]) await journal.append(event);
  return journal;
}

async function dead(at: Host, facts: SessionFacts, events: JournalEvent[] = [], id = ID): Promise<void> {
  const journal = await session(at, facts, events, id);
  await journal[Symbol.asyncDispose]();
}

async function held(t: Test, at: Host, facts: SessionFacts): Promise<void> {
  const journal = await session(at, facts);
  t.teardown(() => journal[Symbol.asyncDispose]());
}

interface Stage extends Host {
  readonly server: Hypervisor;
  readonly vm: VmIdentity;
  readonly facts: SessionFacts;
  readonly lab: Lab;
  readonly take: (id: string) => Promise<void>;
  readonly left: () => Promise<string[]>;
}

async function labStage(t: Test): Promise<Stage> {
  const lab = await labFor(t);
  const at = await host(t, lab);
  const { config } = at.options;
  const connection = await prepareConnection(config.servers.get("lab")!, { credential: { env: {} } });
  const server = await openHypervisor(connection, silentLogger(), signal);
  t.teardown(() => server[Symbol.asyncDispose]());
  const vm = (await server.findVms({ kind: "any" }, { signal }))[0]!;
  const facts = sessionFacts({
    mountPoint: at.mountPoint,
    pid: 2 ** 22 + 1,
    server: { name: "lab", url: lab.url, user: lab.user, insecure: false, fingerprint: lab.fingerprint },
    vm: { ref: vm.ref, instanceUuid: vm.instanceUuid!, name: vm.name, path: vm.path },
  });
  const take = async (id: string): Promise<void> => {
    const mark = { session: id, version: "1", host: "backup1", mountPoint: at.mountPoint, created: "now" };
    const spec = { name: snapshotName(id), description: describeOwnership(mark), quiesce: false };
    await server.createSnapshot(vm.ref, spec, { signal });
  };
  const left = async (): Promise<string[]> =>
    (await server.listSnapshots(vm.ref, { signal })).map(({ name }) => name.replace("vmmount-", ""));
  return { ...at, server, vm, facts, lab, take, left };
}

void t.test(
  "a dead session: its snapshot is found through the journal and removed, other snapshots stay",
  async (t) => {
    const at = await labStage(t);
    await at.take("other00000");
    await at.take(ID);
    await dead(at, at.facts, [CREATING]);
    writeFileSync(at.paths.controlSocket(ID), "");
    const result = await unmountTarget(at.mountPoint, at.options);
    t.match(result, {
      mountPoint: at.mountPoint,
      session: ID,
      message: /Cleaned up dead session .*: removed the snapshot/,
    });
    t.strictSame(await at.left(), ["other00000"]);
    t.notOk(existsSync(at.paths.journal(ID)));
    t.notOk(existsSync(at.paths.controlSocket(ID)));
    t.match(await unmountTarget(at.mountPoint, at.options), { session: undefined, message: /Nothing is mounted/ });
  },
);

void t.test("a session of another machine, whose journal was copied, is not cleaned up here", async (t) => {
  const at = await labStage(t);
  await at.take(ID);
  await dead(at, { ...at.facts, host: "elsewhere", boot: "of another machine" }, [CREATING]);
  t.match(
    await unmountTarget(at.mountPoint, at.options),
    { message: /Nothing is mounted/ },
    "its directory is not ours",
  );
  t.match(await failureOf(unmountTarget(ID, at.options)), {
    name: "LeftoverError",
    message: /host "elsewhere" began it, and its mount may be alive there/,
    hint: new RegExp(`Delete ${at.paths.journal(ID)} .*umount --force ${ID}`),
  });
  t.strictSame(await at.left(), [ID]);
  t.match(await unmountTarget(ID, { ...at.options, force: true }), { message: /removed the snapshot/ });
  t.strictSame(await at.left(), []);
});

void t.test("a dead session by its id, through a passing fault of the server", async (t) => {
  const at = await labStage(t);
  await at.take(ID);
  await dead(at, at.facts, [CREATING, { event: "leftover", reason: "earlier" }]);
  at.lab.rules.load({
    rules: [{ match: { method: "RemoveSnapshot_Task" }, count: 1, action: { kind: "fault", name: "TaskInProgress" } }],
  });
  t.match(await unmountTarget(ID, at.options), { session: ID, message: /removed the snapshot/ });
  t.strictSame(await at.left(), []);
  t.match(
    at.lines.find(({ level }) => level === "warn"),
    { message: /attempt 2 follows/ },
  );
});

void t.test("a snapshot that is gone already, and a VM that is gone", async (t) => {
  const at = await labStage(t);
  await dead(at, at.facts, [CREATING]);
  t.match(await unmountTarget(ID, at.options), { message: /found no snapshot of it/ });
  await dead(
    at,
    { ...at.facts, vm: { ...at.facts.vm, ref: "vm-9999", instanceUuid: "5011ffff-0000-0000-0000-000000000000" } },
    [CREATING],
  );
  // A VM that this user may not see looks the same as one that is gone.
  t.match(await failureOf(unmountTarget(ID, at.options)), { exitCode: 76, message: /is gone from .*--force/ });
  t.match(await unmountTarget(ID, { ...at.options, force: true }), { message: /found no snapshot of it/ });
  t.match(
    at.lines.find(({ level }) => level === "warn"),
    { message: /is gone from/ },
  );
});

void t.test("two who clean up at once both succeed", async (t) => {
  const at = await labStage(t);
  await at.take(ID);
  await dead(at, at.facts, [CREATING]);
  const results = await Promise.all([unmountTarget(at.mountPoint, at.options), unmountTarget(ID, at.options)]);
  t.ok(results.some(({ message }) => message.includes("removed the snapshot")));
  t.strictSame(await at.left(), []);
});

void t.test("a server that cannot be reached keeps the session for later", async (t) => {
  const at = await host(t);
  const facts = sessionFacts({
    mountPoint: at.mountPoint,
    server: { name: "gone", url: "https://127.0.0.1:1", user: "me", insecure: true },
  });
  const passwordFile = join(scratch(t), "password");
  writeFileSync(passwordFile, "secret", { mode: 0o600 });
  await dead(at, facts, [CREATING]);
  const choice = { credential: { env: {}, passwordFile } };
  for (const [options, message] of [
    [{ ...at.options, choice }, /Cannot remove snapshot "vmmount-n0mn7kz4vt" of "web\/01" on https:\/\/127/],
    [at.options, /no password is configured/],
  ] as const) {
    const error = await failureOf(unmountTarget(at.mountPoint, options));
    t.match(error, { name: "LeftoverError", exitCode: 76, message, hint: /vmmount umount n0mn7kz4vt/ });
    t.ok(existsSync(at.paths.journal(ID)));
  }
});

void t.test("a session that never began anything needs no server", async (t) => {
  const at = await host(t);
  await dead(at, sessionFacts({ mountPoint: at.mountPoint }));
  t.match(await unmountTarget(at.mountPoint, at.options), { message: /found no snapshot/ });
  {
    const empty = await FileJournal.create(at.paths.journal("empty00000"), "empty00000");
    await empty[Symbol.asyncDispose]();
  }
  t.match(await unmountTarget("empty00000", at.options), { session: "empty00000" });
  t.notOk(existsSync(at.paths.journal("empty00000")));
});

void t.test("a damaged journal is left to people, with the name of what to look for", async (t) => {
  const at = await host(t);
  writeFileSync(at.paths.journal(ID), "rubbish\nrubbish\n");
  t.match(await failureOf(unmountTarget(ID, at.options)), { exitCode: 76, hint: /vmmount-n0mn7kz4vt.*by hand/ });
  t.ok(existsSync(at.paths.journal(ID)));
});

async function daemon(t: Test, at: Host, handle: ControlHandler, id = ID): Promise<void> {
  const server = await ControlServer.listen(at.paths.controlSocket(id), handle, silentLogger());
  t.teardown(() => server[Symbol.asyncDispose]());
}

void t.test("a living daemon is asked, also through a symbolic link to its mount point", async (t) => {
  const at = await host(t);
  await held(t, at, sessionFacts({ mountPoint: at.mountPoint, pid: 2 ** 22 + 1 }));
  await daemon(t, at, (request, send) => {
    send({ type: "done", message: `unmounted, force ${String(request.op === "umount" && request.force)}` });
    return Promise.resolve();
  });
  const link = join(scratch(t), "link");
  symlinkSync(at.mountPoint, link);
  t.match(await unmountTarget(link, { ...at.options, force: true }), { session: ID, message: "unmounted, force true" });
});

void t.test("a busy mount is refused at once", async (t) => {
  const at = await host(t);
  // This very process stands in for the daemon: it goes on.
  await held(t, at, sessionFacts({ mountPoint: at.mountPoint, pid: process.pid }));
  await daemon(t, at, () => Promise.reject(new BusyError("Files are open", { hint: "--force" })));
  t.match(await failureOf(unmountTarget(ID, at.options)), { exitCode: 73, message: "Files are open", hint: "--force" });
});

void t.test("a process that has the session and does not answer is busy", async (t) => {
  const at = await host(t);
  await held(t, at, sessionFacts({ mountPoint: at.mountPoint }));
  t.match(await failureOf(unmountTarget(ID, at.options)), { name: "BusyError", retryable: true, hint: /try again/ });
});

void t.test("a daemon that dies while it is asked is cleaned up after", async (t) => {
  const at = await host(t);
  await using journal = await session(at, sessionFacts({ mountPoint: at.mountPoint, pid: 2 ** 22 + 1 }));
  await daemon(t, at, async () => {
    await journal[Symbol.asyncDispose]();
  });
  t.match(await unmountTarget(ID, at.options), { message: /Cleaned up dead session/ });
});

void t.test("an old session that cannot be cleaned up does not keep the new one mounted", async (t) => {
  const at = await host(t);
  const old = sessionFacts({ mountPoint: at.mountPoint });
  await dead(at, old, [CREATING], "0000000000");
  await held(t, at, sessionFacts({ mountPoint: at.mountPoint, pid: 2 ** 22 + 1 }));
  let asked = 0;
  await daemon(t, at, (_, send) => {
    asked++;
    send({ type: "done", message: "unmounted" });
    return Promise.resolve();
  });
  t.match(await failureOf(unmountTarget(at.mountPoint, at.options)), { exitCode: 76, message: /web\/01/ });
  t.equal(asked, 1);
});

void t.test("nothing to do is success, also for a session that has ended", async (t) => {
  const at = await host(t);
  t.match(await unmountTarget(at.mountPoint, at.options), { session: undefined, message: /Nothing is mounted on/ });
  t.match(await unmountTarget(join(at.mountPoint, "none/at/all"), at.options), { message: /Nothing is mounted on/ });
  t.match(await unmountTarget("0123456789", at.options), { session: "0123456789", message: /nothing to do/ });
});

const noMount = process.getuid?.() === 0 ? false : "needs root";

void t.test("a mount of somebody else is not touched", { skip: noMount }, async (t) => {
  const at = await host(t);
  await run("mount", ["-t", "tmpfs", "somebody", at.mountPoint]);
  t.teardown(() => run("umount", [at.mountPoint]));
  t.match(await failureOf(unmountTarget(at.mountPoint, at.options)), {
    name: "RefusedError",
    message: /it is "somebody" \(tmpfs\), not a mount of vmmount/,
  });
  await dead(at, sessionFacts({ mountPoint: at.mountPoint }));
  await unmountTarget(ID, at.options);
  await run("mountpoint", ["-q", at.mountPoint]);
  t.pass("it is still mounted");
});

void t.test("a living mount whose daemon is no process seen here is left alone", { skip: noMount }, async (t) => {
  const at = await host(t);
  const driver = kernelFuseDriver({ logger: silentLogger() });
  // Served by this process, whose arguments name no session, as if it were in another container.
  const mounted = await driver.mount(new MemoryFileSystem(), at.mountPoint, {
    source: `vmmount:${ID}`,
    allowOther: false,
    uid: 0,
    gid: 0,
    replyBytesMax: bytes(MIB),
  });
  t.teardown(() => mounted.abandon());
  const refused = { name: "RefusedError", message: /it is alive, and its mount daemon is no process seen here/ };
  t.match(await failureOf(unmountTarget(at.mountPoint, at.options)), refused);
  await dead(at, sessionFacts({ mountPoint: at.mountPoint, pid: 2 ** 22 + 1 }));
  t.match(await failureOf(unmountTarget(ID, at.options)), refused, "whatever a journal says");
  t.match(await failureOf(unmountTarget(ID, { ...at.options, force: true })), refused);
  await run("mountpoint", ["-q", at.mountPoint]);
});
