import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdir, mkdtemp, readFile, rm, stat, writeFile } from "node:fs/promises";
import { createServer, type AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join, relative } from "node:path";
import { createInterface } from "node:readline";
import t from "tap";
import { NODE_ARGUMENTS, PROGRAM, run } from "../fixtures/host/command-line.js";
import { labDirectory } from "../fixtures/host/lab-host.js";
import { LabProcess } from "../fixtures/host/lab-process.js";
import { NOTHING_LEFT, ProxyHost } from "../fixtures/host/proxy-host.js";
import { checkRefusal, refusalFacts } from "../fixtures/host/refusals.js";

/** `vmmount lab` and `vmmount lab init`, as a person uses them. */
const vmmount = (args: readonly string[]): ReturnType<typeof run> =>
  run(process.execPath, [...NODE_ARGUMENTS, PROGRAM, ...args]);

const scratch = await mkdtemp(join(tmpdir(), "vmm-lab-process-"));
t.teardown(() => rm(scratch, { recursive: true, force: true }));

void t.test("init makes a lab once, and leaves one that is there alone", async (t) => {
  const directory = join(scratch, "fresh");
  const made = await vmmount(["lab", "init", directory]);
  t.equal(made.code, 0, made.stderr);
  t.match(made.stdout, `vmmount lab --dir ${directory}`);
  const image = join(directory, "ds1/web01/web01-flat.vmdk");
  const { mtimeMs, blocks, size } = await stat(image);
  t.ok(blocks * 512 < size, "the disks are sparse");
  const again = await vmmount(["lab", "init", directory, "--json"]);
  t.equal(again.code, 0, again.stderr);
  t.same(JSON.parse(again.stdout), { directory });
  t.equal((await stat(image)).mtimeMs, mtimeMs, "it is untouched");
});

void t.test("init keeps away from other people's folders", async (t) => {
  const directory = join(scratch, "full");
  await mkdir(directory);
  await writeFile(join(directory, "thesis.tex"), "years of work");
  checkRefusal(t, await vmmount(["lab", "init", directory]), { exit: "refused", says: /thesis\.tex/ });
  t.equal(await readFile(join(directory, "thesis.tex"), "utf8"), "years of work");
});

void t.test("it says how to be reached, and that works; Ctrl-C ends it", async (t) => {
  const directory = await labDirectory(t);
  const child = spawn(process.execPath, [...NODE_ARGUMENTS, PROGRAM, "lab", "--dir", directory], {
    stdio: ["ignore", "pipe", "pipe"],
  });
  const closed = once(child, "close");
  t.teardown(async () => {
    child.kill("SIGKILL");
    await closed;
  });
  const lines: string[] = [];
  const reader = createInterface(child.stdout);
  for await (const line of reader) {
    lines.push(line);
    if (line.startsWith("ca_file")) break;
  }
  t.match(lines[0], /Serving a stand-in vCenter with 2 VMs/);
  const config = join(scratch, "copied.toml");
  await writeFile(config, lines.slice(1).join("\n"), { mode: 0o600 });
  const listed = await vmmount(["ls", "/dc1", "--config", config]);
  t.equal(listed.code, 0, `the configuration works as it is printed: ${listed.stderr}`);
  t.match(listed.stdout, /web01/);
  child.kill("SIGINT");
  await closed;
  t.equal(child.exitCode, 0);
});

void t.test("a folder given as a relative path is served in full, and the paths it prints hold anywhere", async (t) => {
  const directory = await labDirectory(t);
  const lab = await LabProcess.start(t, relative(process.cwd(), directory));
  t.equal(lab.facts.passwordFile, join(directory, ".lab", "password"));
  t.equal(lab.facts.caFile, join(directory, ".lab", "tls", "certificate.pem"));
  const host = await ProxyHost.make(t, lab.server);
  const mounted = await host.vmmount(["mount", "name:web01", host.mountPoint]);
  t.equal(mounted.code, 0, mounted.stderr);
  const umount = await host.vmmount(["umount", host.mountPoint]);
  t.equal(umount.code, 0, umount.stderr);
  t.same(await host.leftovers(), NOTHING_LEFT);
});

for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) {
  void t.test(`${signal} ends it with success`, async (t) => {
    const lab = await LabProcess.start(t, await labDirectory(t));
    t.match(lab.facts, {
      url: /^https:\/\/127\.0\.0\.1:\d+$/,
      user: "administrator@vsphere.local",
      fingerprint: /^([0-9A-F]{2}:){31}[0-9A-F]{2}$/,
    });
    t.match(await readFile(lab.facts.caFile, "utf8"), /BEGIN CERTIFICATE/);
    t.equal((await stat(lab.facts.passwordFile)).mode & 0o777, 0o600);
    lab.signal(signal);
    t.equal(await lab.ended(), 0);
  });
}

void t.test("certificate and password are the same after a restart; snapshots stay", async (t) => {
  const directory = await labDirectory(t);
  const first = await LabProcess.start(t, directory);
  const password = await readFile(first.facts.passwordFile, "utf8");
  const host = await ProxyHost.make(t, first.server);
  await host.json(["mount", "name:web01", host.mountPoint]);
  const names = await first.snapshots("web01");
  t.equal(names.length, 1);
  first.signal("SIGINT");
  t.equal(await first.ended(), 0, "an open session does not hold it");
  const second = await LabProcess.start(t, directory, new URL(first.facts.url).host);
  t.equal(second.facts.fingerprint, first.facts.fingerprint);
  t.equal(await readFile(second.facts.passwordFile, "utf8"), password);
  t.same(await second.snapshots("web01"), names);
  const umount = await host.vmmount(["umount", host.mountPoint]);
  t.equal(umount.code, 0, `a mount outlives a restart of its server: ${umount.stderr}`);
  t.same(await second.snapshots("web01"), []);
});

void t.test("what cannot be served is said", async (t) => {
  const directory = await labDirectory(t);
  for (const listen of ["nonsense", "127.0.0.1", "127.0.0.1:99999", ":0", "[not-v6]:0"]) {
    const ended = await vmmount(["lab", "--dir", directory, "--listen", listen]);
    checkRefusal(t, ended, { exit: "usage", says: /write host:port/ });
  }
  checkRefusal(t, await vmmount(["lab"]), { exit: "usage", says: /--dir is missing/ });

  const holder = createServer().listen(0, "127.0.0.1");
  await once(holder, "listening");
  t.teardown(() => holder.close());
  const { port } = holder.address() as AddressInfo;
  const busy = await vmmount(["lab", "--dir", directory, "--listen", `127.0.0.1:${port}`, "--json"]);
  t.equal(busy.code, 73, busy.stderr);
  t.match(refusalFacts(busy), { name: "busy", message: new RegExp(`127\\.0\\.0\\.1:${port}`) });

  const rules = join(scratch, "rules.json");
  await writeFile(rules, '{"rules":[{"action":{"kind":"explode"}}]}');
  checkRefusal(t, await vmmount(["lab", "--dir", directory, "--rules", rules]), { exit: "config", says: /rules/ });
  await writeFile(rules, "{");
  checkRefusal(t, await vmmount(["lab", "--dir", directory, "--rules", rules]), { exit: "usage", says: /rules\.json/ });
});

void t.test("a folder that is no lab", async (t) => {
  const missing = await vmmount(["lab", "--dir", join(scratch, "missing")]);
  checkRefusal(t, missing, { exit: "not-found", says: /vmmount lab init/ });
  checkRefusal(t, await vmmount(["lab", "--dir", PROGRAM]), { exit: "not-found" });
  await mkdir(join(scratch, "broken"));
  await writeFile(join(scratch, "broken", "lab.json"), "{");
  checkRefusal(t, await vmmount(["lab", "--dir", join(scratch, "broken")]), { exit: "config", says: /lab\.json/ });
});
