import { existsSync, readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import t from "tap";
import type { SessionStatus } from "../../src/mount/control-protocol.js";
import { addMachine } from "../fixtures/host/lab-machine.js";
import { labDirectory, labIn } from "../fixtures/host/lab-host.js";
import { NOTHING_LEFT, ProxyHost } from "../fixtures/host/proxy-host.js";

/** Configuration, directories of their own and logs, as a backup job meets them: one lab, the built program. */
const directory = await labDirectory(t);
await addMachine(directory, { folder: "small" });
await addMachine(directory, { folder: "odd", displayName: "Jörg's (50) VM" });
const lab = await labIn(t, directory);
const secrets = [readFileSync(lab.passwordPath, "utf8").trim()];

/** One line of a log on stderr without --json is "vmmount: …"; level 5 and 6 say their level. */
const LEVELS: readonly {
  readonly level: number;
  readonly says: readonly RegExp[];
  readonly hides: readonly RegExp[];
}[] = [
  { level: 0, says: [/^$/], hides: [/./] },
  { level: 1, says: [/^$/], hides: [/warning/] },
  { level: 2, says: [/warning: /], hides: [/Created snapshot/] },
  { level: 3, says: [/warning: /, /Created snapshot/], hides: [/Creating a snapshot/, /debug: /] },
  { level: 4, says: [/Created snapshot/, /vmmount: Creating a snapshot/], hides: [/debug: /] },
  { level: 5, says: [/debug: CreateSnapshotEx_Task ok \{.*"ms":\d+,"bytes":\d+/], hides: [/trace: /] },
  {
    level: 6,
    says: [/trace: RetrievePropertiesEx sent \{.*"xml":"/, /trace: Login sent \{"xml":"\[secret\]"/],
    hides: [],
  },
];

void t.test("each level adds what it should, and none tells a secret", async (t) => {
  for (const { level, says, hides } of LEVELS) {
    // The lab's clock never makes this warn: quiescing a guest without tools does.
    const host = await ProxyHost.make(t, lab);
    const mounted = await host.vmmount(["mount", "/dc1/web01", host.mountPoint, "-L", String(level)]);
    t.equal(mounted.code, 0, mounted.stderr);
    for (const one of says) t.match(mounted.stderr, one, `level ${level}`);
    for (const one of hides) t.notMatch(mounted.stderr, one, `level ${level}`);
    const unmounted = await host.vmmount(["umount", host.mountPoint, "-L", String(level)]);
    t.equal(unmounted.code, 0, unmounted.stderr);
    const logs = readdirSync(join(host.stateDir, "logs")).map((name) =>
      readFileSync(join(host.stateDir, "logs", name), "utf8"),
    );
    const all = [mounted.stdout, mounted.stderr, unmounted.stdout, unmounted.stderr, ...logs].join("\n");
    for (const secret of secrets) t.notOk(all.includes(secret), `level ${level} does not tell the password`);
    t.notMatch(all, /vmware_soap_session=|session\[(?!redacted)/, `level ${level} does not tell the session`);
  }
});

void t.test("a log file takes level 6, and stderr stays readable", async (t) => {
  const host = await ProxyHost.make(t, lab);
  const log = join(host.directory, "job.log");
  const mounted = await host.vmmount(["mount", "name:small", host.mountPoint, "-vvv", "--log-file", log]);
  t.equal(mounted.code, 0, mounted.stderr);
  t.notMatch(mounted.stderr, /debug|trace|Creating a snapshot/);
  t.match(mounted.stderr, /Created snapshot/);
  const text = readFileSync(log, "utf8");
  t.match(text, /"level":"trace"/);
  t.equal(statSync(log).mode & 0o777, 0o600);
  for (const secret of secrets) t.notOk(text.includes(secret));
  const failed = await host.vmmount(["mount", "name:smal", host.mountPoint, "-vvv", "--log-file", log]);
  t.equal(failed.code, 73);
  t.match(readFileSync(log, "utf8"), /"name":"busy"/, "the failure is in it too");
  t.equal((await host.vmmount(["umount", host.mountPoint])).code, 0);
});

void t.test("the last line of a failed run is one sentence with the object and a way out", async (t) => {
  const host = await ProxyHost.make(t, lab);
  const cases: [args: string[], code: number, last: RegExp][] = [
    [
      ["mount", "name:smal", host.mountPoint],
      66,
      /^vmmount: Cannot find VM "name:smal" on https:.*\. Close names: .*small/,
    ],
    [
      ["mount", "/dc1/web01", "/nonexistent/mnt"],
      66,
      /^vmmount: Cannot mount on "\/nonexistent\/mnt": no such directory\. mkdir/,
    ],
    [
      ["mount", "name:small", host.mountPoint, "--quiesce", "of"],
      78,
      /^vmmount: Cannot use "snapshot\.quiesce" from --quiesce: "of" .*"off"/,
    ],
    [["ls", "-s", "la"], 64, /^vmmount: Cannot use server "la": it is not configured\. Did you mean "lab"\?$/],
  ];
  for (const [args, code, last] of cases) {
    const { code: got, stderr } = await host.vmmount(args);
    t.equal(got, code, stderr);
    const lines = stderr.trimEnd().split("\n");
    t.match(lines.at(-1), last, args.join(" "));
    const silent = await host.vmmount([...args, "-L", "0"]);
    t.match(silent, { code, stdout: "", stderr: "" }, "level 0 says nothing");
  }
});

void t.test("contradicting settings are refused before the server hears of us", async (t) => {
  const extra = '[mount]\ntransport = "hotadd:https"\n[preexisting]\nsnapshot = "delete"\n';
  const host = await ProxyHost.make(t, lab, extra);
  lab.traffic.reset();
  const { code, stderr } = await host.vmmount(["mount", "name:small", host.mountPoint]);
  t.equal(code, 78);
  t.match(stderr, /preexisting\.mount = "repair" \(default\), preexisting\.snapshot = "delete" \(.*config\.toml:\d+\)/);
  t.strictSame(lab.traffic.report().methods, {}, "no call was made");
});

void t.test("a mount without a directory has one of its own, which goes with it", async (t) => {
  const root = (host: ProxyHost): string => join(host.directory, "mounts");
  const host = await ProxyHost.make(t, lab);
  const env = { VMMOUNT_MOUNT_ROOT: root(host) };
  const mount = (...args: string[]) => host.vmmount(["mount", ...args, "--json"], { env });
  const first = await mount("name:small");
  t.equal(first.code, 0, first.stderr);
  const status = JSON.parse(first.stdout) as SessionStatus;
  t.match(status.mountPoint, /\/mounts\/fullvm-small-[0-9a-f]{8}$/);
  t.equal(statSync(root(host)).mode & 0o777, 0o700);
  t.ok(existsSync(join(status.mountPoint, "catalog.json")));
  const again = await mount("name:small");
  t.equal(again.code, 73, "the VM is mounted there");
  t.ok(existsSync(join(status.mountPoint, "catalog.json")), "and stays so");
  t.equal((await host.vmmount(["umount", "name:small"], { env })).code, 0, "by the VM's name");
  t.strictSame(readdirSync(root(host)), []);
  t.strictSame(await host.leftovers(), NOTHING_LEFT);

  const odd = JSON.parse((await mount("Jörg's (50) VM")).stdout) as SessionStatus;
  t.match(odd.mountPoint, /\/fullvm-Jörg_s__50__VM-[0-9a-f]{8}$/);
  process.kill(odd.pid, "SIGKILL");
  const cleaned = await host.vmmount(["umount", odd.session], { env });
  t.equal(cleaned.code, 0, cleaned.stderr);
  t.strictSame(readdirSync(root(host)), [], "also after the daemon was killed");

  lab.rules.add({
    match: { method: "CreateSnapshotEx_Task" },
    action: { kind: "fault", name: "NoPermission", where: "task" },
  });
  const failed = await mount("name:small");
  lab.rules.clear();
  t.not(failed.code, 0);
  t.strictSame(readdirSync(root(host)), [], "and after a failed mount");
  t.strictSame(await host.leftovers(), NOTHING_LEFT);
});

void t.test("a config.js of VCB becomes a configuration that mounts", async (t) => {
  const host = await ProxyHost.make(t, lab);
  const { hostname, port } = new URL(lab.url);
  const js = join(host.directory, "config.js");
  const text = `// VCB\r\nBACKUPROOT="C:\\\\mnt";\r\nHOST=\u201c${hostname}\u201d;\r\nPORT=${port};\r\nUSERNAME="${lab.user}";\r\nPASSWORD="${secrets[0] ?? ""}";\r\nVM_LOOKUP_METHOD="name";\r\nLOGLEVEL=2;\r\nMAX_RETRIES=0;\r\n`;
  writeFileSync(js, Buffer.from(`\ufeff${text}`, "utf16le"));
  const output = join(host.directory, "imported.toml");
  const printed = await host.vmmount(["config", "import-vcb", js]);
  t.match(printed, {
    code: 0,
    stdout: /^lookup = "name" # VM_LOOKUP_METHOD$/m,
    stderr: /BACKUPROOT \(line 2\): ignored/,
  });
  const done = await host.vmmount(["config", "import-vcb", js, "--output", output, "--server-name", "old"]);
  t.equal(done.code, 0, done.stderr);
  t.match(done.stderr, /HOST \(line 3\): repaired: its quotes/);
  const all = printed.stdout + printed.stderr + done.stdout + done.stderr + readFileSync(output, "utf8");
  for (const secret of secrets) t.notOk(all.includes(secret), "the password is in its own file only");
  const twice = await host.vmmount(["config", "import-vcb", js, "-o", output, "--json"]);
  t.equal(twice.code, 79);
  const env = {
    VMMOUNT_CONFIG: output,
    VMMOUNT_STATE_DIR: host.stateDir,
    VMMOUNT_RUNTIME_DIR: host.runtimeDir,
    VMMOUNT_FINGERPRINT: lab.fingerprint,
  };
  const mounted = await host.vmmount(["mount", "small", host.mountPoint], { env });
  t.equal(mounted.code, 0, mounted.stderr);
  t.equal((await host.vmmount(["umount", "small"], { env })).code, 0);
  t.strictSame(await host.leftovers(), NOTHING_LEFT);
});
