import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import t from "tap";
import type { Catalog } from "../../src/catalog.js";
import { GIB, MIB } from "../../src/units.js";
import type { SessionStatus } from "../../src/mount/control-protocol.js";
import { addMachine } from "../fixtures/host/lab-machine.js";
import { labDirectory, labIn } from "../fixtures/host/lab-host.js";
import { NOTHING_LEFT, ProxyHost } from "../fixtures/host/proxy-host.js";
import { nothingLeft, refused } from "../fixtures/host/refusals.js";
import { until } from "../fixtures/host/until.js";

/** What happens around the snapshot: the user's commands, and the looks at storage and older snapshots before it. */
const HOSTILE = `$(touch PWNED); "db" 'ü'`;
const directory = await labDirectory(t);
await addMachine(directory, { folder: "db", displayName: HOSTILE });
await addMachine(directory, { folder: "chain" });
const lab = await labIn(t, directory);
const db = lab.vm(HOSTILE);
const uuid = `instanceuuid:${db.instanceUuid}`;
t.afterEach(() => {
  lab.rules.clear();
  lab.rules.configure({ datastoreFree: undefined });
});

/** A proxy whose hooks write what they see, one after the other, into a file. */
async function hostWithHooks(
  t: Parameters<typeof ProxyHost.make>[0],
): Promise<{ host: ProxyHost; seen: () => Promise<Map<string, string>[]>; before: string; after: string }> {
  const host = await ProxyHost.make(t, lab);
  const log = join(host.directory, "seen");
  await writeFile(log, "");
  const script = `{ env -0 | grep -z '^VMMOUNT_'; printf 'END\\0'; } >> ${log}; echo said by "$VMMOUNT_HOOK"`;
  const seen = async (): Promise<Map<string, string>[]> =>
    (await readFile(log, "utf8"))
      .split("END\0")
      .slice(0, -1)
      .map((block) => new Map(block.split("\0").map((pair) => pair.split(/=(.*)/s).slice(0, 2) as [string, string])));
  return { host, seen, before: script, after: script };
}

void t.test(
  "both commands run around the snapshot and are told about it, hostile names in the environment only",
  async (t) => {
    const { host, seen, before, after } = await hostWithHooks(t);
    const mount = ["mount", uuid, host.mountPoint, "--before-snapshot", before, "--after-snapshot", after];
    const ended = await host.vmmount([...mount, "--json"]);
    t.equal(ended.code, 0, ended.stderr);
    const status = JSON.parse(ended.stdout) as SessionStatus;
    const [first, second, ...others] = await seen();
    t.same(others, []);
    const common = {
      VMMOUNT_VM_NAME: HOSTILE,
      VMMOUNT_VM_PATH: status.vm.path,
      VMMOUNT_VM_UUID: db.instanceUuid,
      VMMOUNT_SESSION: status.session,
      VMMOUNT_MOUNT_POINT: host.mountPoint,
    };
    t.match(Object.fromEntries(first ?? []), { ...common, VMMOUNT_HOOK: "before-snapshot" });
    t.notOk(first?.has("VMMOUNT_SNAPSHOT"), "there is none yet");
    t.match(Object.fromEntries(second ?? []), {
      ...common,
      VMMOUNT_HOOK: "after-snapshot",
      VMMOUNT_RESULT: "ok",
      VMMOUNT_SNAPSHOT: `vmmount-${status.session}`,
      VMMOUNT_CONSISTENCY: "quiesced",
    });
    const log = await readFile(status.log, "utf8");
    t.match(log, /before-snapshot: said by before-snapshot/);
    t.match(log, /after-snapshot: said by after-snapshot/);
    t.equal((await host.vmmount(["umount", host.mountPoint])).code, 0);
    await nothingLeft(t, host, lab);
  },
);

void t.test("when the command before fails or hangs nothing is made, and the one after still runs", async (t) => {
  const { host, seen, after } = await hostWithHooks(t);
  lab.traffic.reset();
  const mount = ["mount", uuid, host.mountPoint, "--after-snapshot", after];
  await refused(t, host, [...mount, "--before-snapshot", "echo no room; exit 3"], {
    exit: "snapshot",
    says: [/the command before the snapshot ended with exit code 3/, /No snapshot was made/],
  });
  await refused(
    t,
    host,
    [...mount, "--before-snapshot", "sleep 60"],
    { exit: "snapshot", says: /took longer than 0.3 s and was killed/ },
    { env: { VMMOUNT_HOOKS_TIMEOUT: "300ms" } },
  );
  t.same(
    (await seen()).map((facts) => [facts.get("VMMOUNT_RESULT"), facts.get("VMMOUNT_SNAPSHOT")]),
    [
      ["failed", ""],
      ["failed", ""],
    ],
  );
  const { CreateSnapshotEx_Task: quiesced = 0, CreateSnapshot_Task: plain = 0 } = lab.traffic.report().methods;
  t.same([quiesced, plain], [0, 0]);
  await nothingLeft(t, host, lab);
});

void t.test("after a snapshot that fails the command after runs too; its own failure is a warning", async (t) => {
  const { host, seen, before, after } = await hostWithHooks(t);
  lab.rules.add({
    match: { method: "CreateSnapshotEx_Task" },
    action: { kind: "fault", name: "InsufficientResourcesFault", where: "task" },
  });
  const mount = ["mount", uuid, host.mountPoint, "--before-snapshot", before];
  await refused(t, host, [...mount, "--after-snapshot", after], { exit: "snapshot" });
  t.same(
    (await seen()).map((facts) => facts.get("VMMOUNT_RESULT")),
    [undefined, "failed"],
  );
  lab.rules.clear();
  const ended = await host.vmmount([...mount, "--after-snapshot", "exit 4"]);
  t.equal(ended.code, 0, ended.stderr);
  t.match(ended.stderr, /warning: The command after the snapshot of .* ended with exit code 4/);
  t.equal((await host.vmmount(["umount", host.mountPoint])).code, 0);
  await nothingLeft(t, host, lab);
});

void t.test("a mount that dies between the commands: who recovers it runs the second one, once", async (t) => {
  const { host, seen, before, after } = await hostWithHooks(t);
  const options = ["--before-snapshot", before, "--after-snapshot", after];
  const died = async (): Promise<void> => {
    const known = (await seen()).length;
    lab.rules.add({ match: { method: "CreateSnapshotEx_Task" }, action: { kind: "taskDuration", ms: 3000 } });
    const mount = host.vmmount(["mount", uuid, host.mountPoint, ...options]);
    await until("the snapshot is being made", async () => (await seen()).length > known);
    for (const pid of await host.daemons()) process.kill(pid, "SIGKILL");
    t.not((await mount).code, 0);
    lab.rules.clear();
  };
  const results = async (): Promise<unknown[]> => (await seen()).map((facts) => facts.get("VMMOUNT_RESULT"));
  await died();
  const told = await host.vmmount(["umount", "--all"]);
  t.match(told, { code: 0, stderr: /command after the snapshot of .* has not run.*hooks\.after_snapshot is not/ });
  t.same(await results(), [undefined], "a journal holds no commands");
  await died();
  t.match(await host.vmmount(["umount", "--all"], { env: { VMMOUNT_AFTER_SNAPSHOT: after } }), { code: 0 });
  t.same(await results(), [undefined, undefined, "failed"]);
  // Killed daemons did not log out.
  t.same([db.snapshots, await host.leftovers()], [[], NOTHING_LEFT]);
  lab.expireSessions();
});

void t.test(
  "little room is warned of, hardly any is refused before the snapshot, unless the limit is off",
  async (t) => {
    const host = await ProxyHost.make(t, lab);
    lab.rules.configure({ datastoreFree: 500 * MIB });
    lab.traffic.reset();
    await refused(t, host, ["mount", uuid, host.mountPoint], {
      exit: "refused",
      says: [/"ds1" would have 500 MiB free with it, and the least is 1024 MiB/, /guard\.free_space_min/],
    });
    t.equal(lab.traffic.report().methods["CreateSnapshotEx_Task"] ?? 0, 0);
    const off = { VMMOUNT_GUARD_FREE_SPACE_MIN: "0", VMMOUNT_GUARD_FREE_SPACE_WARN: "0" };
    const cases: [free: number, env: Record<string, string>, warns: boolean][] = [
      [500 * MIB, off, false],
      [5 * GIB, {}, true],
      [50 * GIB, {}, false],
    ];
    for (const [datastoreFree, env, warns] of cases) {
      lab.rules.configure({ datastoreFree });
      const ended = await host.vmmount(["mount", uuid, host.mountPoint], { env });
      t.equal(ended.code, 0, ended.stderr);
      t.equal(
        /warning: A snapshot of .* grows while it is mounted/.test(ended.stderr),
        warns,
        `${datastoreFree} bytes`,
      );
      t.equal((await host.vmmount(["umount", host.mountPoint])).code, 0);
    }
    await nothingLeft(t, host, lab);
  },
);

void t.test(
  "a guest that hangs while it freezes: the task is cancelled, auto goes on without, require does not",
  async (t) => {
    const host = await ProxyHost.make(t, lab);
    lab.rules.add({ match: { method: "CreateSnapshotEx_Task" }, action: { kind: "taskDuration", ms: 120_000 } });
    lab.traffic.reset();
    const env = { VMMOUNT_QUIESCE_TIMEOUT: "700ms" };
    const ended = await host.vmmount(["mount", uuid, host.mountPoint, "--json"], { env });
    t.equal(ended.code, 0, ended.stderr);
    t.match(ended.stderr, /crash-consistent.*took longer than 0.7 s, and the server was asked to cancel the snapshot/);
    t.equal((JSON.parse(ended.stdout) as SessionStatus).snapshot.consistency, "crash");
    const catalog = JSON.parse(await readFile(join(host.mountPoint, "catalog.json"), "utf8")) as Catalog;
    t.equal(catalog.snapshot.consistency, "crash");
    t.match(db.snapshots, [{ quiesced: false }], "one snapshot, and not of a frozen guest");
    t.equal((await host.vmmount(["umount", host.mountPoint])).code, 0);
    const {
      CreateSnapshotEx_Task: quiesced,
      CreateSnapshot_Task: plain,
      CancelTask: cancelled,
    } = lab.traffic.report().methods;
    t.same({ quiesced, plain, cancelled }, { quiesced: 1, plain: 1, cancelled: 1 }, "the guest is asked once");
    await refused(
      t,
      host,
      ["mount", uuid, host.mountPoint, "--quiesce", "require"],
      { exit: "quiesce", says: /took longer than 0.7 s, and the server was asked to cancel the snapshot/ },
      { env },
    );
    await nothingLeft(t, host, lab);
  },
);
