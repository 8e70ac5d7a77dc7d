import { readFile, writeFile } from "node:fs/promises";
import { createServer } from "node:net";
import { hostname } from "node:os";
import { join } from "node:path";
import t, { type Test } from "tap";
import { runChecks } from "../../../src/check/run.js";
import { loadConfig } from "../../../src/config.js";
import { LAB_CONFIG_NAME, type LabConfigInput } from "../../../src/lab/lab-config.js";
import { silentLogger } from "../../../src/log.js";
import { StatePaths } from "../../../src/mount/state-paths.js";
import { describeOwnership, snapshotName } from "../../../src/snapshot/ownership.js";
import { connectVsphere } from "../../../src/vsphere/connect.js";
import { NEEDED_PRIVILEGES } from "../../../src/vsphere/privileges.js";
import { command } from "../../fixtures/cli/command.js";
import { healthContract } from "../../fixtures/contract/health.js";
import { labDirectory, labIn } from "../../fixtures/host/lab-host.js";
import { addMachine } from "../../fixtures/host/lab-machine.js";
import { scratch } from "../../fixtures/scratch.js";

/** `vmmount check` against the lab's vCenter: every trouble is named, and nothing is changed. */
const HOST = "127.0.0.77";
const { signal } = new AbortController();
const ALL = NEEDED_PRIVILEGES.map(({ name }) => name);
const LACKING = "VirtualMachine.State.RemoveSnapshot";

const directory = await labDirectory(t);
await addMachine(directory, { folder: "probe" });
const configPath = join(directory, LAB_CONFIG_NAME);
const users = {
  backup: { password: "backs up", role: "backup" },
  almost: { password: "nearly", role: "almost" },
};
const roles = { backup: ALL, almost: ALL.filter((name) => name !== LACKING) };
const labConfig = JSON.parse(await readFile(configPath, "utf8")) as LabConfigInput;
await writeFile(configPath, JSON.stringify({ ...labConfig, host: HOST, users, roles }));
const lab = await labIn(t, directory);
const vm = lab.vm("probe");

const home = scratch(t);
const toml = join(home, "config.toml");
await writeFile(
  toml,
  Object.entries({ ...users, wrong: { password: "a wrong one" } })
    .map(
      ([user, { password }]) =>
        `[server.${user}]\nurl = "${lab.url}"\nuser = "${user === "wrong" ? "backup" : user}"\npassword = "${password}"\nfingerprint = "${lab.fingerprint}"\n`,
    )
    .join("\n") +
    `[server.stranger]\nurl = "${lab.url}"\nuser = "backup"\npassword = "backs up"\n` +
    `[server.nobody]\nurl = "https://127.0.0.1:1"\nuser = "backup"\npassword = "backs up"\n`,
  { mode: 0o600 },
);
const env = {
  VMMOUNT_CONFIG: toml,
  VMMOUNT_STATE_DIR: join(home, "state"),
  VMMOUNT_RUNTIME_DIR: join(home, "run"),
  VMMOUNT_CACHE_DIR: join(home, "cache"),
};

interface Row {
  readonly id: string;
  readonly state: string;
  readonly text: string;
  readonly exit?: string;
}

async function check(words: readonly string[], more: Record<string, string> = {}) {
  const { code, out, error } = await command(["check", ...words, "--json"], { env: { ...env, ...more } });
  const { checks } = JSON.parse(out) as { checks: Row[] };
  return { code, error, of: (id: string) => checks.filter((one) => one.id === id), checks };
}

/** Every question only reads, and every session is logged out. */
async function changingNothing(t: Test, work: () => Promise<void>): Promise<void> {
  lab.traffic.reset();
  const before = JSON.stringify(vm.snapshots);
  await work();
  const { methods, sessions } = lab.traffic.report();
  t.strictSame(
    Object.keys(methods).filter((name) => name.endsWith("_Task")),
    [],
  );
  t.equal(sessions, 0);
  t.equal(JSON.stringify(vm.snapshots), before);
}

void t.test("all is well: every question has its answer, ports that are closed are told of", (t) =>
  changingNothing(t, async () => {
    const closed = await check(["backup", "name:probe"]);
    t.equal(closed.code, 0, closed.error?.message ?? "");
    t.match(closed.of("port.902"), [
      { state: "skip", text: /127\.0\.0\.77:902 .*ECONNREFUSED.*https is what is used/ },
    ]);
    for (const id of ["server.login", "server.certificate", "server.clock", "vm.found", "vm.room", "vm.disk.scsi0-0"]) {
      t.match(closed.of(id), [{ state: "ok" }], id);
    }
    for (const { name, on } of NEEDED_PRIVILEGES) {
      t.match(closed.of(`privilege.${name}@${on}`), [{ state: "ok" }], `${name} on ${on}`);
    }
    const doors = [443, 902].map((port) => createServer((socket) => socket.destroy()).listen(port, HOST));
    const open = await check(["backup", "name:probe"]);
    for (const port of ["port.443", "port.902"]) t.match(open.of(port), [{ state: "ok" }], port);
    for (const door of doors) door.close();
    const needed = await check(["backup", "name:probe"], { VMMOUNT_TRANSPORT: "nbd" });
    t.match(needed.of("port.902"), [{ state: "fail", exit: "connect" }], "nothing else is left");
    t.equal(needed.code, 68);
  }),
);

void t.test("a privilege that is missing is named, with the object, and the lab means it", async (t) => {
  await changingNothing(t, async () => {
    const { code, of, error } = await check(["almost", "name:probe"]);
    t.equal(code, 77);
    t.match(of(`privilege.${LACKING}@vm`), [{ state: "fail", text: /is missing on VM "probe".*remove the snapshot/ }]);
    t.match(error?.message, new RegExp(LACKING));
    t.match(of("privilege.VirtualMachine.State.CreateSnapshot@vm"), [{ state: "ok" }]);
  });
  await using server = await connectVsphere({
    ...{ url: lab.url, user: "almost", password: "nearly", logger: silentLogger(), signal },
    tls: { fingerprint: lab.fingerprint, insecure: false },
  });
  const spec = { name: "x", description: "", quiesce: false };
  const { ref } = await server.createSnapshot(vm.ref, spec, { signal });
  await t.rejects(server.removeSnapshot(ref, { signal }), { name: "AuthError" });
  lab.rules.clear();
  await removeAll();
});

async function removeAll(): Promise<void> {
  await using admin = await adminOf();
  for (const { ref } of (await admin.listSnapshots(vm.ref, { signal })).reverse()) {
    await admin.removeSnapshot(ref, { signal });
  }
}

function adminOf() {
  const { url, user, password, fingerprint } = lab;
  return connectVsphere({ url, user, password, tls: { fingerprint, insecure: false }, logger: silentLogger(), signal });
}

void t.test("wrong password, wrong port, a certificate that nobody knows", (t) =>
  changingNothing(t, async () => {
    const wrong = await check(["wrong", "name:probe"]);
    t.match(wrong, { code: 77, error: { message: /log in/ } });
    t.match(wrong.of("server.login"), [{ state: "fail", exit: "auth" }]);
    t.equal(lab.traffic.report().methods["Login"], 1, "it is tried once");
    const nobody = await check(["nobody"]);
    t.match(nobody.of("server.reach"), [{ state: "fail", exit: "connect", text: /refused/ }]);
    t.equal(nobody.code, 68);
    const stranger = await check(["stranger"]);
    t.match(stranger.of("server.certificate"), [{ state: "fail", exit: "connect", text: /self-signed/ }]);
    t.match(stranger.of("server.login"), [{ state: "skip" }]);
    t.equal(stranger.code, 68);
    t.equal(lab.traffic.report().methods["Login"], 1, "nobody sent a password");
  }),
);

void t.test("clock, room, and a server that does not know the question for privileges", (t) =>
  changingNothing(t, async () => {
    lab.rules.configure({ clockSkewMs: -90_000, datastoreFree: 1024 });
    lab.rules.add({
      match: { method: "HasPrivilegeOnEntities" },
      action: { kind: "fault", name: "NotSupported" },
    });
    const { code, of } = await check(["backup", "name:probe"]);
    lab.rules.clear();
    lab.rules.configure({ clockSkewMs: 0, datastoreFree: undefined });
    t.match(of("server.clock"), [{ state: "warn", text: /(89|90|91) s behind/ }]);
    t.match(of("vm.room"), [{ state: "fail", exit: "space", text: /datastore "ds1".* 1 KiB free/ }]);
    t.match(of("privileges"), [{ state: "skip", text: /does not tell/ }]);
    t.equal(code, 80);
  }),
);

void t.test("a server that hangs in the middle is an answer", async (t) => {
  lab.rules.add({ match: { method: "HasPrivilegeOnEntities" }, action: { kind: "hang" } });
  const config = loadConfig({ env, flags: [] });
  const options = { config, choice: { credential: { env } }, paths: new StatePaths(config.settings) };
  const report = await runChecks(
    { server: "backup", locator: { server: undefined, form: { kind: "name", name: "probe" }, text: "name:probe" } },
    { ...options, logger: silentLogger(), signal, questionMs: 3000 },
  );
  lab.rules.clear();
  const found = report.checks.find(({ id }) => id === "privileges");
  t.match(found, { state: "fail", exit: "connect", text: /no answer within 3 s/ });
  t.match(
    report.checks.find(({ id }) => id === "vm.room"),
    { state: "ok" },
    "the others have theirs",
  );
});

void t.test("a deep chain, old snapshots and what we left", async (t) => {
  await using admin = await adminOf();
  for (const name of ["one", "two", "three"]) {
    await admin.createSnapshot(vm.ref, { name, description: "", quiesce: false }, { signal });
  }
  const mark = { version: "0", session: "k3v9q2m7xa", host: hostname(), mountPoint: "/mnt", created: "" };
  const ours = { name: snapshotName(mark.session), description: describeOwnership(mark), quiesce: false };
  await admin.createSnapshot(vm.ref, ours, { signal });
  await admin[Symbol.asyncDispose]();
  await changingNothing(t, async () => {
    const { code, of } = await check(["backup", "name:probe"]);
    t.match(of("vm.snapshots"), [{ state: "warn", text: /4 snapshots/ }]);
    t.match(of("vm.chain"), [{ state: "warn", text: /depends on 4 older/ }]);
    t.match(of("vm.leftover"), [{ state: "warn", hint: /vmmount umount k3v9q2m7xa/ }]);
    t.match(of("vm.snapshot-age"), [{ state: "ok" }]);
    t.match(of("vm.disk.scsi0-0"), [{ state: "fail", exit: "unavailable", text: /older snapshot/ }]);
    t.equal(code, 69);
  });
  await removeAll();
});

void t.test("health contract", (t) =>
  healthContract(t, {
    connect: adminOf,
    vm: vm.ref,
    clockSkewMs: 0,
    mayEverything: true,
    remembers: true,
    happen: async (server) => {
      const spec = { name: "made by a test", description: "", quiesce: false };
      await server.removeSnapshot((await server.createSnapshot(vm.ref, spec, { signal })).ref, { signal });
    },
  }),
);

void t.test("an answer with events without an end is refused, and not kept in memory", async (t) => {
  await using admin = await adminOf();
  await admin.createSnapshot(vm.ref, { name: "again", description: "", quiesce: false }, { signal });
  lab.rules.configure({ eventCopies: 3000 });
  const asked = admin.health?.happenings(vm.ref, { signal, max: 10 }) ?? Promise.reject(new Error("no health"));
  await t.rejects(asked, { name: "IntegrityError" });
  lab.rules.configure({ eventCopies: 1 });
  await removeAll();
});
