import { readFile } from "node:fs/promises";
import t, { type Test } from "tap";
import { errorFacts } from "../../../src/errors.js";
import type { Hypervisor } from "../../../src/hypervisor.js";
import { connectXen } from "../../../src/xen/connect.js";
import { XEN_LIMITS } from "../../../src/xen/xapi/limits.js";
import { recordingLogger } from "../../fixtures/recording-logger.js";
import { connectToPool } from "../../fixtures/xen/connect-to-pool.js";
import { testPool } from "../../fixtures/xen/lab-pool.js";

/** One pool for all of it, since a pool takes a second: every subtest leaves it as it was. */
const { signal } = new AbortController();
const SPEC = { name: "vmmount-0123456789", description: '{"tool":"vmmount"}', quiesce: false };
const pool = await testPool(t, { profile: "8.2" });
const { lab } = pool;
const { uuid } = lab.vm("web01");

async function failure(promise: Promise<unknown>): Promise<ReturnType<typeof errorFacts>> {
  return errorFacts(await promise.catch((error: unknown) => error));
}

/** Nothing of what the work made is left, sessions and tasks included. */
async function leavingNothing(t: Test, work: (server: Hypervisor) => Promise<void>): Promise<void> {
  const before = lab.counts();
  {
    await using server = await connectToPool(pool);
    await work(server);
  }
  t.strictSame(lab.counts(), before, "as many objects of every class as before");
}

await t.test("a master that has moved is followed, in the middle of a connection and from the start", async (t) => {
  await leavingNothing(t, async (server) => {
    await server.listSnapshots(uuid, { signal });
    await lab.moveMaster(1);
    const snapshot = await server.createSnapshot(uuid, SPEC, { signal });
    await server.removeSnapshot(snapshot.ref, { signal });
  });
  const ca = await readFile(lab.certificatePath, "utf8");
  const { logger } = recordingLogger();
  const login = { user: lab.user, password: lab.password, tls: { ca, insecure: false }, logger, signal };
  {
    await using server = await connectXen({ ...login, url: lab.urlOf(0) });
    t.equal((await server.browse("/", { signal })).length, lab.vms.length, "by way of a host that is no master");
    await lab.moveMaster(0);
  }
  t.equal(lab.counts()["session"] ?? 0, 0, "it logs out where the master is by then");
});

await t.test("a host that is no master, of which alone a fingerprint is pinned", async (t) => {
  await lab.moveMaster(1);
  const { fingerprint } = lab.hosts[0]!.tls;
  const { logger } = recordingLogger();
  const login = { user: lab.user, password: lab.password, logger, signal };
  const facts = await failure(connectXen({ ...login, url: lab.urlOf(0), tls: { fingerprint, insecure: false } }));
  t.match(facts, { kind: "UnreachableError", retryable: false, hint: /every host of the pool.*ca_file/ });
  await lab.moveMaster(0);
});

await t.test("a host that names no master, or something that is no address", async (t) => {
  t.teardown(() => {
    lab.rules.clear();
  });
  for (const parameters of [
    [],
    [""],
    ["a b"],
    ["x/?"],
    ["user@127.0.0.2"],
    ["127.0.0.1:1"],
    ["::1%lo"],
    ["999.1.1.1"],
    ["\u001b[2J"],
  ]) {
    lab.rules.clear();
    const action = { kind: "fault" as const, name: "HOST_IS_SLAVE", parameters };
    lab.rules.add({ match: { method: "session.login_with_password" }, action });
    const facts = await failure(connectToPool(pool));
    t.match(
      facts,
      { kind: "UnreachableError", message: /^Cannot reach (the master|a host) of the pool/ },
      String(parameters[0]),
    );
    t.notMatch(facts.message, /\u001b/);
  }
});

await t.test("a server that never holds a question for news is not asked all the time", async (t) => {
  await using server = await connectToPool(pool, { limits: { waitSeconds: 0.0001 } });
  const durationMs = 1_000;
  lab.rules.add({ match: { method: "VM.snapshot" }, count: 1, action: { kind: "taskDuration", ms: durationMs } });
  t.teardown(() => {
    lab.rules.clear();
  });
  lab.traffic.reset();
  const snapshot = await server.createSnapshot(uuid, SPEC, { signal });
  const asked = lab.traffic.report().methods["event.from"] ?? 0;
  t.ok(asked > 2 && asked <= durationMs / XEN_LIMITS.eventsApartMs + 5, `${asked} questions`);
  await server.removeSnapshot(snapshot.ref, { signal });
});

await t.test("a master that died is replaced by whoever is it now", async (t) => {
  await using server = await connectToPool(pool);
  await server.listSnapshots(uuid, { signal });
  await lab.moveMaster(1);
  await lab.stopHost(0);
  t.strictSame(await server.listSnapshots(uuid, { signal }), []);
  const snapshot = await server.createSnapshot(uuid, SPEC, { signal });
  await server.removeSnapshot(snapshot.ref, { signal });
  await lab.startHost(0);
  await lab.moveMaster(0);
  t.strictSame(await server.listSnapshots(uuid, { signal }), []);
});

await t.test("a pool without any host that answers may answer later", async (t) => {
  await using server = await connectToPool(pool);
  await lab.stopHost(0);
  await lab.stopHost(1);
  t.match(await failure(server.listSnapshots(uuid, { signal })), { kind: "UnreachableError", retryable: true });
  await lab.startHost(0);
  await lab.startHost(1);
  t.strictSame(await server.listSnapshots(uuid, { signal }), []);
});

await t.test("a session that ended is opened again, once for all who wait", async (t) => {
  await leavingNothing(t, async (server) => {
    lab.expireSessions();
    const found = await Promise.all(
      [1, 2, 3, 4].map(() => server.findVms({ kind: "name", name: "web01" }, { signal })),
    );
    t.strictSame(
      found.map(([vm]) => vm?.ref),
      [uuid, uuid, uuid, uuid],
    );
    t.equal(lab.counts()["session"], 1);
  });
});

await t.test("another certificate than the pinned one is refused before the password is sent", async (t) => {
  const tls = { fingerprint: "AA".repeat(32), insecure: false };
  const logins = lab.counts()["session"];
  const facts = await failure(connectToPool(pool, { tls }));
  t.match(facts, { kind: "UnreachableError", retryable: false, message: /is pinned/ });
  t.equal(lab.counts()["session"], logins);
});

await t.test("what makes a snapshot fail is told in words, and leaves nothing", async (t) => {
  const cases = [
    [{ name: "SR_FULL", parameters: ["1073741824", "0"] }, /storage repository is full \(SR_FULL\)/, false],
    [
      { name: "SR_BACKEND_FAILURE_44", parameters: ["", "There is insufficient space", ""] },
      /insufficient space/,
      false,
    ],
    [
      { name: "OPERATION_BLOCKED", parameters: ["OpaqueRef:1", "no backups today"] },
      /blocked.*no backups today/,
      false,
    ],
    [{ name: "OTHER_OPERATION_IN_PROGRESS", parameters: ["VM", "OpaqueRef:1", "clone", "OpaqueRef:2"] }, /clone/, true],
  ] as const;
  await leavingNothing(t, async (server) => {
    for (const [fault, message, retryable] of cases) {
      const action = { kind: "fault" as const, ...fault, parameters: [...fault.parameters], where: "task" as const };
      const remove = lab.rules.add({ match: { method: "VM.snapshot" }, action });
      const facts = await failure(server.createSnapshot(uuid, SPEC, { signal }));
      t.match(facts, { kind: "SnapshotError", message, retryable }, fault.name);
      remove();
    }
  });
});

await t.test("a pool without quiesced snapshots says so", async (t) => {
  await leavingNothing(t, async (server) => {
    const facts = await failure(server.createSnapshot(uuid, { ...SPEC, quiesce: true }, { signal }));
    t.match(facts, { kind: "QuiesceError", retryable: false, message: /releases from 8\.1 on have none/ });
  });
});

await t.test("a call whose answer is lost after it took effect is not made twice", async (t) => {
  await using server = await connectToPool(pool);
  const before = lab.counts();
  const drop = lab.rules.add({
    match: { method: "VM.snapshot" },
    count: 1,
    action: { kind: "drop", when: "after" },
  });
  const snapshot = await server.createSnapshot(uuid, SPEC, { signal });
  t.equal(drop(), 1);
  t.match(await server.listSnapshots(uuid, { signal }), [{ ref: snapshot.ref, description: SPEC.description }]);
  const lost = lab.rules.add({ match: { method: "VM.destroy" }, count: 1, action: { kind: "drop", when: "after" } });
  t.match(await failure(server.removeSnapshot(snapshot.ref, { signal })), {
    kind: "UnreachableError",
    retryable: true,
  });
  t.equal(lost(), 1);
  await server.removeSnapshot(snapshot.ref, { signal });
  // Nobody has heard what the tasks of lost answers are called: the server forgets them after an hour.
  t.strictSame({ ...lab.counts(), task: 0 }, { ...before, task: 0 });
});

await t.test("disks that dom0 still holds are waited for", async (t) => {
  await leavingNothing(t, async (server) => {
    const snapshot = await server.createSnapshot(uuid, SPEC, { signal });
    const held = lab.rules.add({
      match: { method: "VDI.destroy" },
      count: 3,
      action: { kind: "fault", name: "VDI_IN_USE", parameters: ["OpaqueRef:1", "destroy"], where: "task" },
    });
    await server.removeSnapshot(snapshot.ref, { signal });
    t.equal(held(), 3);
  });
});
