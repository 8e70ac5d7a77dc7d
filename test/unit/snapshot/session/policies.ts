import t from "tap";
import type { SnapshotPolicy } from "../../../../src/settings.js";
import { describeOwnership, snapshotName } from "../../../../src/snapshot/ownership.js";
import { MemoryServer } from "../../../fixtures/memory-hypervisor.js";
import { on, refused } from "../../../fixtures/snapshot-faults.js";
import { failureOf, NAME, stage } from "../../../fixtures/snapshot-session.js";

const { signal } = new AbortController();

/** What was there before: the one that is to be used, and others. */
type Before = "none" | "one of VCB" | "one kept by createonly" | "two" | "a user's";

const KEPT = {
  name: snapshotName("kept000000"),
  description: describeOwnership({
    session: "kept000000",
    version: "1",
    host: "h",
    mountPoint: "/m",
    created: "c",
    policy: "createonly",
  }),
  quiesce: true,
};
const VCB = { name: "_VCB-BACKUP_", description: "", quiesce: false };
const USERS = { name: "before the update", description: "", quiesce: false };

function serverWith(before: Before): MemoryServer {
  const server = new MemoryServer();
  const vm = server.vms[0]!;
  if (before !== "none") server.takeSnapshot(vm, USERS);
  if (before === "one of VCB" || before === "two") server.takeSnapshot(vm, VCB);
  if (before === "one kept by createonly" || before === "two") server.takeSnapshot(vm, KEPT);
  return server;
}

const THERE: Record<Before, string[]> = {
  none: [],
  "a user's": [USERS.name],
  "one of VCB": [USERS.name, VCB.name],
  "one kept by createonly": [USERS.name, KEPT.name],
  two: [USERS.name, VCB.name, KEPT.name],
};

/** Per policy and what was there: what is used, or the error; what is left after umount. */
const TABLE: [SnapshotPolicy, Before, uses: string | { name: string }, left: string[]][] = [
  ["automatic", "none", NAME, []],
  ["automatic", "a user's", NAME, THERE["a user's"]],
  ["automatic", "two", NAME, THERE.two],
  ["createonly", "none", NAME, [NAME]],
  ["createonly", "two", NAME, [...THERE.two, NAME]],
  ["manual", "none", { name: "NotFoundError" }, []],
  ["manual", "a user's", { name: "NotFoundError" }, THERE["a user's"]],
  ["manual", "one of VCB", VCB.name, THERE["one of VCB"]],
  ["manual", "one kept by createonly", KEPT.name, THERE["one kept by createonly"]],
  ["manual", "two", { name: "AmbiguousError" }, THERE.two],
  ["deleteonly", "none", { name: "NotFoundError" }, []],
  ["deleteonly", "a user's", { name: "NotFoundError" }, THERE["a user's"]],
  ["deleteonly", "one of VCB", VCB.name, THERE["a user's"]],
  ["deleteonly", "one kept by createonly", KEPT.name, THERE["a user's"]],
  ["deleteonly", "two", { name: "AmbiguousError" }, THERE.two],
];

void t.test("each policy, with and without a snapshot to use: after umount, and when the mount fails", async (t) => {
  for (const [policy, before, uses, left] of TABLE) {
    const what = `${policy}, ${before}`;
    const { session, ...scene } = await stage({ policy }, serverWith(before));
    if (typeof uses !== "string") {
      t.match(await failureOf(session.obtain(signal)), uses, what);
      await session.remove();
    } else {
      t.equal((await session.obtain(signal)).snapshot.name, uses, what);
      await session.served(1);
      t.equal(session.removesSnapshot, policy === "automatic" || policy === "deleteonly", what);
      await session.remove();
      t.equal(session.state.name, policy === "automatic" || policy === "deleteonly" ? "removed" : "kept", what);
      t.equal(scene.events().at(-1), session.state.name, what);
    }
    t.strictSame(scene.left().sort(), [...left].sort(), what);
    // A mount that fails before anybody could read it leaves everything as it was.
    const failed = await stage({ policy }, serverWith(before));
    await failed.session.obtain(signal).catch(() => undefined);
    await failed.session.remove();
    t.strictSame(failed.left().sort(), [...THERE[before]].sort(), `${what}, and the mount fails`);
  }
});

void t.test("the snapshot to use by name or id, and consistency as it tells itself", async (t) => {
  const server = serverWith("two");
  const vm = server.vms[0]!;
  const twin = server.takeSnapshot(vm, USERS);
  for (const [use, name] of [
    [KEPT.name, KEPT.name],
    [twin.ref, USERS.name],
  ] as const) {
    const { session } = await stage({ policy: "manual", use }, server);
    const { snapshot, consistency } = await session.obtain(signal);
    t.match(snapshot, { name });
    t.equal(consistency, name === KEPT.name ? "quiesced" : "crash");
    await session.remove();
  }
  const { session } = await stage({ policy: "deleteonly", use: USERS.name }, server);
  t.match(await failureOf(session.obtain(signal)), { name: "AmbiguousError", hint: new RegExp(twin.ref) });
  const missing = await stage({ policy: "deleteonly", use: "nightly" }, server);
  t.match(await failureOf(missing.session.obtain(signal)), { name: "NotFoundError", hint: /_VCB-BACKUP_/ });
});

void t.test(
  "deleteonly removes nothing that took the place of what it used, and keeps what it could not",
  async (t) => {
    const server = serverWith("one of VCB");
    const vm = server.vms[0]!;
    const first = await stage({ policy: "deleteonly" }, server);
    const { snapshot } = await first.session.obtain(signal);
    await first.session.served(1);
    const there = vm.snapshots.get(snapshot.ref)!;
    vm.snapshots.set(snapshot.ref, { ...there, snapshot: { ...there.snapshot, createdAt: new Date(0) } });
    t.match(await failureOf(first.session.remove()), { name: "LeftoverError", message: /another one now/ });
    t.strictSame(first.left(), THERE["one of VCB"]);
    t.equal(first.events().at(-1), "leftover");
    vm.snapshots.set(snapshot.ref, there);

    const second = await stage({ policy: "deleteonly" }, server);
    await second.session.obtain(signal);
    await second.session.served(1);
    server.break({ ...on("removeSnapshot", 1, "before", refused), call: undefined });
    t.match(await failureOf(second.session.remove()), { name: "LeftoverError" });
    server.break();
    t.equal(second.events().at(-1), "leftover");

    const third = await stage({ policy: "deleteonly" }, server);
    const used = await third.session.obtain(signal);
    await third.session.served(1);
    vm.snapshots.delete(used.snapshot.ref);
    await third.session.remove();
    t.equal(third.session.state.name, "removed", "somebody else removed it: that is what was wanted");
  },
);

void t.test("a policy that uses a snapshot asks the server to make none", async (t) => {
  const { session, server } = await stage({ policy: "manual" }, serverWith("one of VCB"));
  await session.obtain(signal);
  await session.served(1);
  await session.remove();
  t.notOk(server.calls.includes("createSnapshot") || server.calls.includes("removeSnapshot"));
  t.equal(session.state.name, "kept");
});
