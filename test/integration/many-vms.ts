import { mkdir, readdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import t from "tap";
import type { SessionStatus } from "../../src/mount/control-protocol.js";
import type { VmOutcome } from "../../src/mount/many/outcome.js";
import { addMachine } from "../fixtures/host/lab-machine.js";
import { labDirectory, labIn } from "../fixtures/host/lab-host.js";
import { succeed } from "../fixtures/host/command-line.js";
import { NOTHING_LEFT, ProxyHost } from "../fixtures/host/proxy-host.js";
import { lastLine, nothingLeft } from "../fixtures/host/refusals.js";
import { until } from "../fixtures/host/until.js";

/** Several VMs by one command, on one lab: their folders, the limits, failures of some, commands for each, signals. */
const MANY = process.env["VMMOUNT_TEST_ALL"] === "1" ? 50 : 12;
/** What docs/OPERATIONS.md says of a daemon that reads from no large disk, with room for what V8 leaves lying around. */
const RSS_MIB_MAX = 200;
const DESCRIPTORS_MAX = 64;
const ODD = ["odd a/b", "odd a_b", "odd  two spaces", "odd Größe 猫", "odd %2f", "odd CASE", "odd case"];

const directory = await labDirectory(t);
for (let index = 0; index < MANY; index++) await addMachine(directory, { folder: `many-${index}` });
for (const [index, displayName] of ODD.entries()) await addMachine(directory, { folder: `odd${index}`, displayName });
await addMachine(directory, { folder: "bare", displayName: "part bare", independent: true });
for (const name of ["good", "locked"]) await addMachine(directory, { folder: name, displayName: `part ${name}` });
const lab = await labIn(t, directory);
t.afterEach(() => {
  lab.rules.clear();
});

interface Many {
  readonly vms: readonly VmOutcome[];
}

/** The most sessions that the server had while `work` went on, and the memory of this host's processes at its end. */
async function watched<T>(work: Promise<T>): Promise<{ result: T; sessions: number }> {
  let sessions = 0;
  const timer = setInterval(() => {
    sessions = Math.max(sessions, lab.traffic.report().sessions);
  }, 20);
  try {
    return { result: await work, sessions };
  } finally {
    clearInterval(timer);
  }
}

/** @returns stops looking, and tells how many VMs had a snapshot at one time */
function snapshotsAtOnce(): () => number {
  let most = 0;
  const timer = setInterval(() => {
    most = Math.max(most, lab.vms.filter(({ snapshots }) => snapshots.length > 0).length);
  }, 5).unref();
  return () => {
    clearInterval(timer);
    return most;
  };
}

/** A command for --each that goes on only when it runs for two VMs at once, so that a slow machine shows no fewer. */
const AT_LEAST_TWO =
  ': > "$SEEN/$VMMOUNT_SESSION"; for i in $(seq 600); do [ "$(ls "$SEEN" | wc -l)" -ge 2 ] && break; sleep 0.1; done';

async function memoryOf(pids: readonly number[]): Promise<number[]> {
  const texts = await Promise.all(pids.map((pid) => readFile(`/proc/${pid}/status`, "utf8").catch(() => "")));
  return texts.map((text) => Number(/^VmRSS:\s*(\d+) kB/m.exec(text)?.[1] ?? 0) / 1024);
}

void t.test(`${MANY} VMs at once: all mounted, all read, all gone`, async (t) => {
  if (MANY < 50) t.comment("12 VMs only: VMMOUNT_TEST_ALL=1 mounts 50");
  const host = await ProxyHost.make(t, lab);
  const began = performance.now();
  const { result: ended, sessions } = await watched(host.vmmount(["mount", "glob:many-*", host.mountPoint, "--json"]));
  const mountedMs = performance.now() - began;
  t.equal(ended.code, 0, ended.stderr);
  const { vms } = JSON.parse(ended.stdout) as Many;
  t.equal(vms.length, MANY);
  t.notMatch(ended.stderr, /MaxListeners|\(node:/, "Node has nothing to warn of");
  t.ok(vms.every(({ state }) => state === "mounted"));
  t.ok(sessions <= MANY, `${sessions} sessions on the server at most`);
  t.same((await readdir(host.mountPoint)).sort(), Array.from({ length: MANY }, (_, at) => `many-${at}`).sort());
  for (const { vm, directory: at } of vms) {
    const machine = lab.vm(vm.name);
    const sum = await succeed("sha256sum", [join(at, "scsi0-0-flat.vmdk")]);
    t.equal(
      sum.slice(0, 64),
      await machine.hashDisk(machine.disks[0]?.key ?? 0, machine.snapshots[0]?.ref ?? ""),
      vm.name,
    );
  }
  const daemons = await host.daemons();
  t.equal(daemons.length, MANY, "a process for each");
  const sizes = (await memoryOf(daemons)).sort((a, b) => a - b);
  const handles = await Promise.all(daemons.map(async (pid) => (await readdir(`/proc/${pid}/fd`)).length));
  t.ok((sizes.at(-1) ?? Infinity) < RSS_MIB_MAX, `none has more than ${RSS_MIB_MAX} MiB`);
  t.ok(Math.max(...handles) < DESCRIPTORS_MAX, `nor more than ${DESCRIPTORS_MAX} descriptors`);
  const unmounting = performance.now();
  const umount = await host.vmmount(["umount", host.mountPoint, "--json"]);
  t.equal(umount.code, 0, umount.stderr);
  t.match(JSON.parse(umount.stdout), { failed: [], unmounted: { length: MANY } });
  t.notMatch(umount.stderr, /MaxListeners|\(node:/);
  t.comment(
    `${MANY} VMs: mounted in ${(mountedMs / 1000).toFixed(1)} s, unmounted in ${((performance.now() - unmounting) / 1000).toFixed(1)} s; ` +
      `RSS of a daemon ${sizes[0]?.toFixed(0) ?? ""} to ${sizes.at(-1)?.toFixed(0) ?? ""} MiB, together ${sizes.reduce((a, b) => a + b, 0).toFixed(0)}; ` +
      `descriptors ${Math.min(...handles)} to ${Math.max(...handles)}; server sessions ${sessions} at most`,
  );
  t.same(await readdir(host.mountPoint), [], "the folders are gone");
  await nothingLeft(t, host, lab);
});

void t.test("names that only differ unsafely get folders of their own; the limits hold", async (t) => {
  const host = await ProxyHost.make(t, lab);
  lab.rules.add({ match: { method: "CreateSnapshotEx_Task" }, action: { kind: "taskDuration", ms: 300 } });
  const env = { VMMOUNT_PARALLEL_DATASTORE: "2" };
  const most = snapshotsAtOnce();
  const job = `printf "%s|%s|" "$VMMOUNT_VM_NAME" "$1" >> "$OUT"; test -r "$1/catalog.json" || exit 1; ${AT_LEAST_TWO}`;
  const [out, seen] = [join(host.directory, "out"), join(host.directory, "seen")];
  await mkdir(seen);
  const ended = await host.vmmount(["mount", "/dc1/odd*", host.mountPoint, "--json", "--each", job], {
    env: { ...env, OUT: out, SEEN: seen },
  });
  t.equal(ended.code, 0, ended.stderr);
  const { vms } = JSON.parse(ended.stdout) as Many;
  t.same(vms.map(({ vm }) => vm.name).sort(), [...ODD].sort());
  t.ok(vms.every(({ state }) => state === "done"));
  const end = (name: string): string => lab.vm(name).instanceUuid.slice(0, 8);
  const folders = new Map(vms.map((one) => [one.vm.name, one.directory.slice(host.mountPoint.length + 1)]));
  t.same(Object.fromEntries(folders), {
    "odd a/b": `odd a_b-${end("odd a/b")}`,
    "odd a_b": `odd a_b-${end("odd a_b")}`,
    "odd  two spaces": "odd  two spaces",
    "odd Größe 猫": "odd Größe 猫",
    "odd %2f": "odd %2f",
    "odd CASE": `odd CASE-${end("odd CASE")}`,
    "odd case": `odd case-${end("odd case")}`,
  });
  const said = (await readFile(out, "utf8")).split("|");
  for (const [name, folder] of folders) t.equal(said[said.indexOf(name) + 1], join(host.mountPoint, folder));
  t.equal(most(), 2, "snapshots at once on the datastore");
  t.same(await readdir(host.mountPoint), []);
  await nothingLeft(t, host, lab);
});

for (const limit of ["SERVER", "HOST"]) {
  void t.test(`no more snapshots at once than VMMOUNT_PARALLEL_${limit} says`, async (t) => {
    const host = await ProxyHost.make(t, lab);
    lab.rules.add({ match: { method: "CreateSnapshotEx_Task" }, action: { kind: "taskDuration", ms: 300 } });
    const env = { VMMOUNT_PARALLEL_DATASTORE: "7", VMMOUNT_PARALLEL_HOST: "7", [`VMMOUNT_PARALLEL_${limit}`]: "2" };
    const seen = join(host.directory, "seen");
    await mkdir(seen);
    const most = snapshotsAtOnce();
    const command = ["mount", "/dc1/odd*", host.mountPoint, "--each", AT_LEAST_TWO];
    const ended = await host.vmmount(command, { env: { ...env, SEEN: seen } });
    t.equal(ended.code, 0, ended.stderr);
    t.equal(most(), 2);
    await nothingLeft(t, host, lab);
  });
}

void t.test("some fail: the others are mounted, the table says why, and umount takes the rest", async (t) => {
  const host = await ProxyHost.make(t, lab);
  lab.rules.add({
    match: { method: "CreateSnapshotEx_Task", object: "part locked" },
    action: { kind: "fault", name: "FileLocked", where: "task" },
  });
  const json = await host.vmmount([
    "mount",
    "name:part good",
    "name:part bare",
    "name:part locked",
    host.mountPoint,
    "--json",
  ]);
  t.equal(json.code, 81, json.stderr);
  const { vms } = JSON.parse(json.stdout) as Many;
  t.match(vms, [
    { vm: { name: "part good" }, state: "mounted" },
    { vm: { name: "part bare" }, state: "failed", error: { code: 79 } },
    { vm: { name: "part locked" }, state: "failed", error: { code: 71 } },
  ]);
  t.same(await readdir(host.mountPoint), ["part good"], "failed ones leave no folder");
  const again = await host.vmmount(["mount", "glob:part good", host.mountPoint]);
  t.equal(again.code, 73, "all failed alike");
  t.match(again.stdout, /part good +\/.+ +failed /);
  const umount = await host.vmmount(["umount", host.mountPoint]);
  t.equal(umount.code, 0, umount.stderr);
  t.equal((await host.vmmount(["mount", "glob:nobody*", host.mountPoint])).code, 66);
  t.match(lastLine((await host.vmmount(["mount", "name:part good", "name:nobody", host.mountPoint])).stderr), /nobody/);
  await nothingLeft(t, host, lab);
});

void t.test(
  "--each: a failing command counts, its VM is unmounted all the same, also while somebody reads",
  async (t) => {
    const host = await ProxyHost.make(t, lab);
    const job =
      'case "$VMMOUNT_VM_NAME" in "part good") exit 3;; esac; sleep 30 < "$1/catalog.json" >/dev/null 2>&1 & echo $! >> "$OUT"';
    const out = join(host.directory, "out");
    await writeFile(out, "");
    const ended = await host.vmmount(
      ["mount", "name:part good", "name:part locked", host.mountPoint, "--each", job, "--json"],
      {
        env: { OUT: out },
      },
    );
    for (const pid of (await readFile(out, "utf8")).trim().split("\n")) process.kill(Number(pid), "SIGKILL");
    t.equal(ended.code, 81, ended.stderr);
    t.match(JSON.parse(ended.stdout), {
      vms: [{ state: "failed", error: { code: 82, message: /ended with exit code 3/ } }, { state: "done" }],
    });
    await nothingLeft(t, host, lab);
  },
);

void t.test("a signal takes all of them back", async (t) => {
  const host = await ProxyHost.make(t, lab);
  lab.rules.add({
    match: { method: "CreateSnapshotEx_Task", object: "part locked" },
    action: { kind: "taskDuration", ms: 60_000 },
  });
  let pid = 0;
  const mounting = host.vmmount(["mount", "name:part good", "name:part locked", host.mountPoint], {
    onStart: (started) => (pid = started),
  });
  await until("one is mounted", async () => (await host.mounts()).length === 1, 60_000);
  process.kill(pid, "SIGINT");
  const { code, stderr } = await mounting;
  t.equal(code, 130, stderr);
  t.same(await readdir(host.mountPoint), []);
  await nothingLeft(t, host, lab);
});

void t.test("two mounts of one VM: one wins, the other says who has it, whatever the timing", async (t) => {
  const host = await ProxyHost.make(t, lab);
  const other = join(host.directory, "other");
  await mkdir(other);
  for (const delayMs of [0, 40, 120, 300]) {
    const both = await Promise.all(
      [host.mountPoint, other].map(async (at, index) => {
        await new Promise((resolve) => setTimeout(resolve, index * delayMs));
        return await host.vmmount(["mount", "name:part good", at, "--json"]);
      }),
    );
    t.same(both.map(({ code }) => code).sort(), [0, 73], `${delayMs} ms apart`);
    const winner = both.find(({ code }) => code === 0);
    const loser = both.find(({ code }) => code === 73);
    const { mountPoint } = JSON.parse(winner?.stdout ?? "{}") as SessionStatus;
    t.match(lastLine(loser?.stderr ?? ""), new RegExp(`${mountPoint}|another vmmount works on it`));
    t.equal(lab.vm("part good").snapshots.length, 1);
    t.equal((await host.vmmount(["umount", "--all"])).code, 0);
  }
  await nothingLeft(t, host, lab);
});

void t.test(
  "dead mounts in the folders are taken away first, unless the rule says fail; living ones stay",
  async (t) => {
    const host = await ProxyHost.make(t, lab);
    const words = ["mount", "name:part good", "name:odd CASE", host.mountPoint, "--json"];
    t.equal((await host.vmmount(words)).code, 0);
    for (const pid of await host.daemons()) process.kill(pid, "SIGKILL");
    await until("the daemons are gone", async () => (await host.daemons()).length === 0);
    const refusedByRule = await host.vmmount([...words, "--preexisting-mount", "fail"]);
    t.equal(refusedByRule.code, 73, refusedByRule.stderr);
    const again = await host.vmmount(words);
    t.equal(again.code, 0, again.stderr);
    const { vms } = JSON.parse(again.stdout) as Many;
    t.same(
      vms.map(({ state }) => state),
      ["mounted", "mounted"],
    );
    t.equal(lab.vm("part good").snapshots.length, 1, "and the dead one's snapshot is gone");
    t.equal((await host.vmmount(words)).code, 73, "living mounts stay");
    t.equal((await host.vmmount(["umount", host.mountPoint])).code, 0);
    // Killed daemons did not log out.
    t.same([lab.vms.flatMap(({ snapshots }) => snapshots), await host.leftovers()], [[], NOTHING_LEFT]);
  },
);
