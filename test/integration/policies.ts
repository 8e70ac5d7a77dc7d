import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import t, { type Test } from "tap";
import type { Hypervisor } from "../../src/hypervisor.js";
import { AWKWARD_NAME } from "../../src/lab/init.js";
import { silentLogger } from "../../src/log.js";
import type { ExitName } from "../../src/exit-codes.js";
import { describeOwnership, snapshotName } from "../../src/snapshot/ownership.js";
import { connectXen } from "../../src/xen/connect.js";
import { run } from "../fixtures/host/command-line.js";
import { labFor } from "../fixtures/host/lab-host.js";
import { NOTHING_LEFT, ProxyHost } from "../fixtures/host/proxy-host.js";
import { nothingLeft, refused } from "../fixtures/host/refusals.js";
import { until } from "../fixtures/host/until.js";
import { testPool } from "../fixtures/xen/lab-pool.js";

const { signal } = new AbortController();
const lab = await labFor(t);
const host = await ProxyHost.make(t, lab);
const vm = lab.vm("web01");

// Older snapshots are tried on a pool: over https the disks of a vSphere VM can be read only without them.
const { lab: pool } = await testPool(t);
const poolHost = await ProxyHost.make(t, pool);
const poolVm = pool.vm("web01");

const USERS = { name: "before the update", description: "keep this" };
const VCB = { name: "_VCB-BACKUP_", description: "" };
const UNMARKED = { name: "vmmount-0123456789", description: "edited by hand" };
const OTHER_HOST = {
  name: snapshotName("otherhost0"),
  description: describeOwnership({
    session: "otherhost0",
    version: "1",
    host: "another proxy",
    hostId: "0".repeat(16),
    mountPoint: "/m",
    created: "c",
    policy: "automatic",
  }),
};

/** Somebody else at the same pool. */
async function asStranger<T>(work: (hypervisor: Hypervisor, ref: string) => Promise<T>): Promise<T> {
  await using stranger = await connectXen({
    url: pool.url,
    user: pool.user,
    password: pool.password,
    tls: { fingerprint: pool.fingerprint, insecure: false },
    logger: silentLogger(),
    signal,
  });
  const [found] = await stranger.findVms({ kind: "name", name: "web01" }, { signal });
  return await work(stranger, found?.ref ?? "");
}

async function takeSnapshots(specs: readonly { name: string; description: string }[]): Promise<void> {
  await asStranger(async (stranger, ref) => {
    for (const spec of specs) await stranger.createSnapshot(ref, { ...spec, quiesce: false }, { signal });
  });
}

async function removeAll(): Promise<void> {
  await asStranger(async (stranger, vmRef) => {
    for (const { ref } of await stranger.listSnapshots(vmRef, { signal })) {
      await stranger.removeSnapshot(ref, { signal });
    }
  });
}

const shownName = (name: string): string => name.replace(/^vmmount-[0-9a-z]{10}$/, "ours");

const names = (): string[] =>
  poolVm.snapshots.map((ref) => shownName(pool.pool.database.text("VM", ref, "name_label")));

const there = (...specs: { name: string }[]): string[] => specs.map(({ name }) => shownName(name));

interface Row {
  readonly before: readonly { name: string; description: string }[];
  readonly args: readonly string[];
  /** How mount ends. */
  readonly mount: "mounted" | { readonly exit: Exclude<ExitName, "signal">; readonly says: RegExp };
  readonly says?: RegExp;
  /** What is there after umount, or after the refusal. */
  readonly after: readonly string[];
}

const OLD = [USERS, OTHER_HOST];
const TABLE: Row[] = [
  { before: [USERS], args: [], mount: "mounted", after: there(USERS) },
  { before: [VCB], args: [], mount: { exit: "refused", says: /_VCB-BACKUP_.*nothing proves/ }, after: there(VCB) },
  {
    before: [UNMARKED],
    args: ["--preexisting-snapshot", "delete"],
    mount: { exit: "refused", says: /nothing proves.*any_owner/ },
    after: there(UNMARKED),
  },
  {
    before: [USERS, VCB, UNMARKED],
    args: ["--preexisting-snapshot", "delete", "--any-owner"],
    mount: "mounted",
    after: there(USERS),
  },
  { before: OLD, args: [], mount: "mounted", says: /another proxy.*left alone/, after: there(...OLD) },
  {
    before: OLD,
    args: ["--preexisting-snapshot", "fail"],
    mount: { exit: "refused", says: /another proxy/ },
    after: there(...OLD),
  },
  { before: OLD, args: ["--preexisting-snapshot", "delete"], mount: "mounted", after: there(USERS) },
  { before: [], args: ["--policy", "manual"], mount: { exit: "not-found", says: /has no snapshots/ }, after: [] },
  {
    before: [USERS],
    args: ["--policy", "deleteonly"],
    mount: { exit: "not-found", says: /--use-snapshot.*before the update/ },
    after: there(USERS),
  },
  {
    before: [VCB, VCB],
    args: ["--policy", "deleteonly"],
    mount: { exit: "ambiguous", says: /2 match/ },
    after: there(VCB, VCB),
  },
  { before: [USERS, VCB], args: ["--policy", "manual"], mount: "mounted", after: there(USERS, VCB) },
  { before: [USERS, VCB], args: ["--policy", "deleteonly"], mount: "mounted", after: there(USERS) },
  {
    before: [USERS, VCB],
    args: ["--policy", "deleteonly", "--use-snapshot", USERS.name],
    mount: "mounted",
    after: there(VCB),
  },
  {
    before: [USERS, VCB],
    args: ["--policy", "createonly"],
    mount: { exit: "refused", says: /_VCB-BACKUP_/ },
    after: there(USERS, VCB),
  },
  { before: [USERS], args: ["--policy", "createonly"], mount: "mounted", after: ["before the update", "ours"] },
];

async function checkRow(t: Test, { before, args, mount, says, after }: Row): Promise<void> {
  await takeSnapshots(before);
  const command = ["mount", "name:web01", poolHost.mountPoint, ...args];
  if (mount === "mounted") {
    const ended = await poolHost.vmmount(command);
    t.equal(ended.code, 0, ended.stderr);
    if (says !== undefined) t.match(ended.stderr, says);
    t.match(await poolHost.vmmount(["umount", poolHost.mountPoint]), { code: 0 });
  } else {
    await refused(t, poolHost, command, mount);
  }
  t.strictSame(names().sort(), [...after].sort());
  t.same(await poolHost.leftovers(), NOTHING_LEFT);
  await removeAll();
}

for (const row of TABLE) {
  void t.test(
    `${row.args.join(" ") || "automatic"}, with ${row.before.map(({ name }) => name).join(", ") || "no snapshot"}`,
    (t) => checkRow(t, row),
  );
}

void t.test("createonly keeps its snapshot for manual and deleteonly, and replaces its own", async (t) => {
  const once = async (...args: string[]): Promise<string> => {
    const { snapshot } = await host.json<{ snapshot: { name: string } }>([
      "mount",
      "name:web01",
      host.mountPoint,
      ...args,
    ]);
    t.match(await host.vmmount(["umount", host.mountPoint]), { code: 0 });
    return snapshot.name;
  };
  const first = await once("--policy", "createonly");
  const second = await once("--policy", "createonly");
  t.not(second, first);
  t.strictSame(
    vm.snapshots.map(({ name }) => name),
    [second],
    "the one of yesterday is gone",
  );
  await refused(
    t,
    host,
    ["mount", "name:web01", host.mountPoint, "--policy", "createonly", "--preexisting-snapshot", "fail"],
    { exit: "refused", says: new RegExp(second) },
  );
  t.equal(await once("--policy", "manual"), second);
  t.equal(await once("--policy", "deleteonly"), second);
  await nothingLeft(t, host, lab);
});

async function killDaemon(): Promise<void> {
  for (const pid of await host.daemons()) process.kill(pid, "SIGKILL");
  await until("the daemon is gone", async () => (await host.daemons()).length === 0);
}

/** Earlier mounts on the directory: living, dead, of another VM, of a stranger; per rule. */
void t.test("an earlier mount on the directory", async (t) => {
  const again = ["mount", "name:web01", host.mountPoint];
  await host.json(again);
  for (const rule of ["fail", "repair"]) {
    await refused(t, host, [...again, "--preexisting-mount", rule], { exit: "busy", says: /is mounted there/ });
  }
  const { session } = await host.json<{ session: string }>([...again, "--preexisting-mount", "delete"]);
  t.equal(vm.snapshots.length, 1, "the same VM's gave way");
  await refused(t, host, ["mount", `name:${AWKWARD_NAME}`, host.mountPoint, "--preexisting-mount", "delete"], {
    exit: "busy",
    says: /is mounted there/,
  });
  t.match(await host.json(["status"]), { sessions: [{ session, state: "serving" }] }, "another VM's did not");

  await killDaemon();
  await refused(t, host, [...again, "--preexisting-mount", "fail"], { exit: "busy", says: /is mounted there/ });
  const repaired = await host.vmmount(again);
  t.match(repaired, { code: 0, stderr: /Cleaned up dead session/ });
  t.equal(vm.snapshots.length, 1);

  await killDaemon();
  await host.vmmount(["umount", host.mountPoint]);
  await run("mount", ["-t", "tmpfs", "tmpfs", host.mountPoint]);
  await refused(t, host, [...again, "--preexisting-mount", "delete"], { exit: "busy", says: /tmpfs/ });
  await run("umount", [host.mountPoint]);
  await writeFile(join(host.mountPoint, "mine"), "");
  await refused(t, host, [...again, "--preexisting-mount", "delete"], { exit: "refused", says: /not empty/ });
  await run("rm", [join(host.mountPoint, "mine")]);
  // Killed daemons did not log out.
  t.same([vm.snapshots, await host.leftovers()], [[], NOTHING_LEFT]);
});

void t.test("the next mount of the VM cleans up after a dead session elsewhere, unless told to fail", async (t) => {
  const elsewhere = join(host.directory, "elsewhere");
  await mkdir(elsewhere);
  const { session } = await host.json<{ session: string }>(["mount", "name:web01", elsewhere]);
  await killDaemon();
  const again = ["mount", "name:web01", host.mountPoint];
  await refused(t, host, [...again, "--preexisting-snapshot", "fail"], {
    exit: "refused",
    says: new RegExp(`session ${session}.*vmmount umount ${session}`),
  });
  t.match(await host.vmmount(again), { code: 0, stderr: new RegExp(`Cleaned up dead session ${session}`) });
  t.equal(vm.snapshots.length, 1);
  t.match(await host.vmmount(["umount", "--all"]), { code: 0 });
  // Killed daemons did not log out.
  t.same([vm.snapshots, await host.leftovers()], [[], NOTHING_LEFT]);
});

void t.test("what a policy cannot mean is refused before a server is asked", async (t) => {
  const calls = lab.traffic.report().methods["Login"];
  const usage = (args: string[], says: RegExp): Promise<void> =>
    refused(t, host, ["mount", "name:web01", host.mountPoint, ...args], { exit: "usage", says });
  await usage(["--server", `dir://${host.directory}`, "--policy", "createonly"], /has no snapshots/);
  await refused(t, host, ["mount", "name:web01", host.mountPoint, "--policy", "sometimes"], {
    exit: "config",
    says: /--policy/,
  });
  t.equal(lab.traffic.report().methods["Login"], calls);
});
