import { mkdirSync, realpathSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import t, { type Test } from "tap";
import { silentLogger } from "../../../src/log.js";
import { openHypervisor, prepareConnection } from "../../../src/mount/connection.js";
import { ControlServer } from "../../../src/mount/control-server.js";
import { StatePaths } from "../../../src/mount/state-paths.js";
import { FileJournal } from "../../../src/snapshot/journal.js";
import { describeOwnership, snapshotName } from "../../../src/snapshot/ownership.js";
import { type Answer, command } from "../../fixtures/cli/command.js";
import { labFor } from "../../fixtures/host/lab-host.js";
import { configIn } from "../../fixtures/mount/config.js";
import { labConfig } from "../../fixtures/mount/lab-config.js";
import { sessionStatus } from "../../fixtures/mount/session-status.js";
import { scratch } from "../../fixtures/scratch.js";
import { sessionFacts } from "../../fixtures/snapshot-facts.js";

const ID = "k3v9q2m7xa";
const { signal } = new AbortController();

interface Host {
  readonly directory: string;
  readonly paths: StatePaths;
  readonly vmmount: (...argv: string[]) => Promise<Answer>;
  readonly json: (...argv: string[]) => Promise<Record<string, unknown>>;
}

async function host(t: Test, directory = realpathSync(scratch(t)), config = configIn(directory)): Promise<Host> {
  const paths = new StatePaths(config.settings);
  await paths.prepare();
  const env = {
    VMMOUNT_CONFIG: join(directory, "config.toml"),
    VMMOUNT_STATE_DIR: config.settings["state.dir"],
    VMMOUNT_RUNTIME_DIR: config.settings["runtime.dir"],
  };
  const vmmount = (...argv: string[]): Promise<Answer> => command(argv, { env });
  const json = async (...argv: string[]): Promise<Record<string, unknown>> => {
    const { code, out, error } = await vmmount(...argv, "--json");
    t.equal(code, 0, error?.message ?? argv.join(" "));
    return JSON.parse(out) as Record<string, unknown>;
  };
  return { directory, paths, vmmount, json };
}

async function held(t: Test, { paths }: Host, id = ID): Promise<FileJournal> {
  const journal = await FileJournal.create(paths.journal(id), id);
  t.teardown(() => journal[Symbol.asyncDispose]());
  await journal.append({ event: "planned", facts: sessionFacts({ pid: 2 ** 22 + 1 }) });
  return journal;
}

async function daemon(t: Test, { paths }: Host, own = {}): Promise<void> {
  const server = await ControlServer.listen(
    paths.controlSocket(ID),
    (request, send) => {
      if (request.op === "status") send({ type: "status", status: sessionStatus(own) });
      else send({ type: "done", message: "Unmounted it" });
      return Promise.resolve();
    },
    silentLogger(),
  );
  t.teardown(() => server[Symbol.asyncDispose]());
}

void t.test("ls, find and snapshot list against the lab", async (t) => {
  const lab = await labFor(t);
  const directory = realpathSync(scratch(t));
  const config = labConfig(directory, lab);
  const at = await host(t, directory, config);

  const { vms } = (await at.json("find", "any:")) as { vms: { path: string; ref: string; name: string }[] };
  const vm = vms[0]!;
  t.match((await at.vmmount("find", "any:")).out, /^PATH +STATE +MOREF +INSTANCEUUID +ADDRESSES\n\//);
  const vcb = await at.vmmount("find", `moref:${vm.ref}`, "--format", "vcb");
  t.match(vcb.out, new RegExp(`^moref:${vm.ref}\\nname:.*\\nuuid:[0-9a-f-]{36}`));
  t.match(await at.vmmount("find", "name:nobody"), { code: 66 });

  t.match(await at.vmmount("ls"), { code: 0, out: /^KIND +STATE +PATH\ndatacenter/ });
  t.match(await at.json("ls"), { entries: [{ kind: "datacenter" }] });
  const listed = await at.vmmount("list", vm.path);
  t.match(listed.out, /^DISK +LABEL +SIZE +FILE +KIND +IN BACKUP$/m);
  t.match(listed.out, /^(scsi|sata|nvme)\d-\d +Hard disk 1 /m);
  t.match(await at.json("ls", vm.path), { identity: { ref: vm.ref }, disks: [{ label: "Hard disk 1" }] });

  t.match(await at.vmmount("snapshot", "list", vm.path), { code: 0, out: "No snapshots\n" });
  const connection = await prepareConnection(config.servers.get("lab")!, { credential: { env: {} } });
  await using server = await openHypervisor(connection, silentLogger(), signal);
  const mark = { session: ID, version: "1", host: "elsewhere", mountPoint: "/m", created: "now" };
  const spec = { name: snapshotName(ID), description: describeOwnership(mark), quiesce: false };
  await server.createSnapshot(vm.ref, spec, { signal });
  t.match((await at.vmmount("snapshot", "list", vm.path)).out, /vmmount-k3v9q2m7xa .* no +other host \(elsewhere\)$/m);
  t.match(await at.json("snapshot", "ls", vm.path), { snapshots: [{ session: ID, owner: "other host" }] });

  const wire = await at.vmmount("find", "any:", "-vvv");
  t.equal(wire.code, 0);
  t.match(wire.err, /vmmount: (debug|trace): /);
  t.notMatch(wire.err + wire.out, new RegExp(lab.password), "the password is in no log line");
});

void t.test("status of the living, the dead and the damaged", async (t) => {
  const at = await host(t);
  t.match(await at.vmmount("status"), { code: 0, out: "Nothing is mounted\n" });
  await held(t, at);
  const traffic = { ...sessionStatus().traffic, passthroughFiles: 2, openFiles: 3 };
  await daemon(t, at, { degraded: "disk 1 at byte 0: gone", traffic });
  await (await held(t, at, "dead000000"))[Symbol.asyncDispose]();
  writeFileSync(at.paths.journal("damaged000"), "rubbish\nrubbish\n");
  const { out } = await at.vmmount("status");
  t.match(out, /^SESSION +MOUNT POINT +VM +SINCE +STATE +READ +FETCHED +OPEN$/m);
  t.match(out, /^k3v9q2m7xa .* serving +2 KiB +1 KiB +3$/m);
  t.match(out, /^Session k3v9q2m7xa is served by kernel$/m);
  t.match(out, /^Session k3v9q2m7xa: scsi0-0 is read over https, not over nbdssl: port 902 is closed$/m);
  t.match(out, /^dead000000 .* DEAD \(planned\)$/m);
  t.match(out, /^damaged000 +\? +\? +\? +DEAD \(unknown\)$/m);
  t.match(out, /^Session dead000000: its mount daemon is gone; run "vmmount umount dead000000"$/m);
  t.match(out, /^Session damaged000: .*record 0 is damaged/m);
  t.match(out, /^Session k3v9q2m7xa is degraded: reading disk 1 at byte 0: gone$/m);
  t.match(out, /^Session k3v9q2m7xa: the kernel reads 2 local files by itself/m);
  const { sessions } = (await at.json("status")) as { sessions: { alive: boolean }[] };
  t.strictSame(
    sessions.map(({ alive }) => alive),
    [false, true, false],
  );
});

void t.test("umount of one, of none and of all", async (t) => {
  const at = await host(t);
  t.match(await at.vmmount("umount", at.directory), { code: 0, out: /^Nothing is mounted on/ });
  t.match(await at.vmmount("umount", "--all"), { code: 0, out: "Nothing is mounted\n" });
  t.strictSame(await at.json("umount", "--all"), { unmounted: [], failed: [] });
  t.match(await at.vmmount("unmount", "0123456789"), { code: 0, out: /nothing to do/ });
  const journal = await held(t, at);
  await daemon(t, at);
  t.match(await at.json("umount", ID, "--force"), { session: ID, message: "Unmounted it" });

  writeFileSync(at.paths.journal("damaged000"), "rubbish\nrubbish\n");
  const mixed = await at.vmmount("umount", "--all");
  t.match(mixed, { code: 76, error: { name: "leftover", message: /Cannot unmount 1 of 2 VMs: .*damaged000/ } });
  t.match(mixed.out, /failed +Cannot clean up session damaged000/, "the table says which");
  await journal.erase();
  t.match(await at.vmmount("umount", "--all"), { code: 76 }, "one failure alone keeps its own code");
});

void t.test("config show says where each setting is from, and no password", async (t) => {
  const directory = realpathSync(scratch(t));
  const toml = '[server.vc1]\nurl = "https://vc1"\npassword = "hunter2"\n[mount]\nmode = "0440"\n';
  const at = await host(t, directory, configIn(directory, toml));
  const text = (await at.vmmount("config", "show")).out;
  t.match(text, new RegExp(`^Files: ${directory}/config.toml$`, "m"));
  t.match(text, /^mount\.mode +0440 +\/.*config\.toml /m);
  t.match(text, /^vc1 +https:\/\/vc1 /m);
  const json = await at.json("config", "show");
  t.match(json, { servers: [{ name: "vc1", password: "[redacted]" }], files: [join(directory, "config.toml")] });
  t.notMatch(text + JSON.stringify(json), /hunter2/);
  t.match(await command(["config", "show"], { env: { VMMOUNT_CONFIG: "/dev/null" } }), { out: /^Files: \/dev\/null/ });
});

void t.test("an empty variable for a key of the server counts as unset, as it does for settings", async (t) => {
  const directory = scratch(t);
  const file = join(directory, "config.toml");
  writeFileSync(file, '[server.a]\nurl = "https://a.example"\nuser = "u"\nca_file = "/ca.pem"\n');
  const env = { VMMOUNT_CONFIG: file, VMMOUNT_USER: "", VMMOUNT_CA_FILE: "", VMMOUNT_FINGERPRINT: "" };
  const { out } = await command(["config", "show", "--effective", "--json"], { env });
  const { servers } = JSON.parse(out) as { servers: { values: { key: string; value: unknown; origin: string }[] }[] };
  t.match(
    servers[0]?.values.map(({ key, value, origin }) => [key, value, origin]),
    [
      ["url", "https://a.example", "file"],
      ["user", "u", "file"],
      ["ca_file", "/ca.pem", "file"],
    ],
  );
  t.equal(servers[0]?.values.length, 3, "and no fingerprint");
});

void t.test("config show --effective says value and place of every setting and server key", async (t) => {
  const directory = realpathSync(scratch(t));
  const file = join(directory, "config.toml");
  const toml = '[server.vc1]\nurl = "https://vc1"\nuser = "me"\npassword = "hunter2"\n[mount]\nmode = "0440"\n';
  configIn(directory, toml);
  const env = { VMMOUNT_CONFIG: file, VMMOUNT_USER: "other", VMMOUNT_RETRY_MAX: "9" };
  const argv = ["config", "show", "--effective", "-vv"];
  const { out } = await command(argv, { env });
  t.match(out, new RegExp(`^mount\\.mode +0440 +${file}:6$`, "m"));
  t.match(out, /^retry\.max +9 +VMMOUNT_RETRY_MAX$/m);
  t.match(out, /^log\.level +5 +--verbose$/m);
  t.match(out, /^mount\.cache_size +256MiB +default$/m);
  t.match(out, new RegExp(`^server\\.vc1\\.url +https://vc1 +${file}:2$`, "m"));
  t.match(out, /^server\.vc1\.user +other +VMMOUNT_USER$/m);
  t.match(out, new RegExp(`^server\\.vc1\\.password +\\[redacted\\] +${file}:4$`, "m"));
  const json = await command([...argv, "--json"], { env });
  const { settings, servers } = JSON.parse(json.out) as Record<string, { key: string }[]>;
  t.strictSame(
    settings?.find(({ key }) => key === "mount.mode"),
    {
      key: "mount.mode",
      value: 0o440,
      text: "0440",
      origin: "file",
      source: file,
      line: 6,
    },
  );
  t.match(
    settings?.find(({ key }) => key === "mount.cache_size"),
    {
      value: 268435456,
      origin: "default",
      source: null,
      line: null,
    },
  );
  t.match(servers, [
    {
      name: "vc1",
      values: [
        { key: "url", line: 2 },
        { key: "user", origin: "env" },
      ],
    },
  ]);
  t.notMatch(out + json.out, /hunter2/);
});

void t.test("mount finds out what is wrong before it asks a server", async (t) => {
  const at = await host(t);
  const empty = join(at.directory, "mnt");
  mkdirSync(empty);
  const cases: [argv: string[], code: number, message: RegExp][] = [
    [["vm", join(at.directory, "none")], 66, /no such directory/],
    [["vm", at.directory], 79, /not empty/],
    [["name:", empty], 64, /nothing follows/],
    [["vm", empty], 78, /none is configured/],
    [["vm", empty, "--server", "https://127.0.0.1:1"], 78, /no user is configured/],
    [["vm", empty, "--server", "https://127.0.0.1:1", "-u", "me"], 78, /no password is configured/],
    [["vm", empty, "--mode", "0777"], 78, /from --mode/],
    [["vm", empty, "--uid", ""], 78, /from --uid/],
    [["vm", empty, "--quiesce", "maybe"], 78, /from --quiesce/],
    [["vm", empty, "--cache-size", "1"], 78, /from --cache-size/],
    [["vm", empty, "--allocation", "on"], 78, /from --allocation/],
  ];
  for (const [argv, code, message] of cases) {
    t.match(await at.vmmount("mount", ...argv), { code, out: "", error: { message } }, argv.slice(2).join(" "));
  }
});
