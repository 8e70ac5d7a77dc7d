import { readdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import t, { type Test } from "tap";
import type { Catalog } from "../../src/catalog.js";
import { fetchFingerprint } from "../../src/vsphere/fingerprint.js";
import { run } from "../fixtures/host/command-line.js";
import { addMachine } from "../fixtures/host/lab-machine.js";
import { labDirectory, labIn } from "../fixtures/host/lab-host.js";
import { NOTHING_LEFT, ProxyHost } from "../fixtures/host/proxy-host.js";
import { nothingLeft, refused } from "../fixtures/host/refusals.js";
import { scriptedVm } from "../fixtures/vsphere/scripted-vm.js";
import { startScriptedVcenter, val } from "../fixtures/vsphere/scripted-vcenter.js";

/** Names come from whoever may rename a VM: they must not leave the mount, nor take over a terminal or a log. */
const FORGED = "vmmount: error: forged";
const NAMES: Readonly<Record<string, string>> = {
  "a way up": "../../etc/passwd",
  "an absolute path": "/etc/passwd",
  dots: "..",
  "a line of a log": `a\n${FORGED}`,
  "an escape sequence of eight bits": "\u009b2Jcleared\u009b31m",
  "another direction of writing": "invoice\u202Efdp.vmx \u2066x\u2069",
  "separators of lines": `x\u2028${FORGED}\u0085y\u007f`,
  "many bytes": "\u{1F4BE}".repeat(70),
  "an option": "--force",
  markup: `<name>&amp;]]></name>"'%2f%25\\`,
};
const STEMS = ["-rf", "a b%2fc", "..", "y\nz", "\u{1F4BE}".repeat(50), "'\"$(reboot)", "catalog.json\u202E"];

/** What must never reach a terminal or a log as it is. */
const RAW = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u2028\u2029\u202a-\u202e\u2066-\u2069]/;

const directory = await labDirectory(t);
const CASES = Object.entries(NAMES).map(([what, name], index) => ({
  what,
  name,
  folder: `case${index}`,
  stem: STEMS[index] ?? "plain",
}));
for (const { name, folder, stem } of CASES) await addMachine(directory, { folder, stem, settings: { name } });
/** Names that the server cannot tell as they are: XML has no escape character, and a backslash may be part of a path. */
const UNTOLD = ["x\u001b[31m", "q\\r"];
for (const [index, stem] of UNTOLD.entries()) await addMachine(directory, { folder: `untold${index}`, stem });
const lab = await labIn(t, directory);

function checkShown(t: Test, what: string, text: string): void {
  t.notMatch(text, RAW, `${what} is safe to show`);
  t.notOk(
    text.split("\n").some((line) => line.startsWith(FORGED)),
    `${what} has no forged line`,
  );
}

async function filesBelow(directory: string): Promise<[string, string][]> {
  const entries = await readdir(directory, { recursive: true, withFileTypes: true });
  const files = entries.filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name));
  return Promise.all(files.map(async (path): Promise<[string, string]> => [path, await readFile(path, "utf8")]));
}

/** Mounts, looks at every place where a name may show, and unmounts. */
async function wholeJob(t: Test, folder: string): Promise<{ name: string; files: string[] }> {
  const host = await ProxyHost.make(t, lab);
  const vm = lab.vms.find((one) => one.folder.endsWith(`/${folder}`));
  const mount = await host.vmmount(["mount", `moref:${vm?.ref ?? ""}`, host.mountPoint, "-vvv"]);
  t.equal(mount.code, 0, mount.stderr);
  checkShown(t, "the output of mount", mount.stdout + mount.stderr);
  const files = (await run("find", [host.mountPoint, "-mindepth", "1", "-print0"])).stdout
    .split("\0")
    .filter((path) => path !== "")
    .map((path) => path.slice(host.mountPoint.length + 1));
  for (const file of files)
    t.notMatch(file, /[/\u0000-\u001f\u007f-\u009f]/, `${JSON.stringify(file)} is one plain name`);
  const copied = await run("cp", ["-r", host.mountPoint, join(host.directory, "copy")]);
  t.equal(copied.code, 0, copied.stderr);
  const catalog = JSON.parse(await readFile(join(host.directory, "copy/catalog.json"), "utf8")) as Catalog;
  t.equal(catalog.vm.name, vm?.name, "the catalog has the name as it is");

  const status = await host.vmmount(["status"]);
  checkShown(t, "status", status.stdout + status.stderr);
  for (const [path, text] of await filesBelow(host.stateDir)) checkShown(t, path.replace(/.*\//, ""), text);
  const umount = await host.vmmount(["umount", host.mountPoint]);
  t.equal(umount.code, 0, umount.stderr);
  checkShown(t, "the output of umount", umount.stdout + umount.stderr);
  for (const [path, text] of await filesBelow(host.stateDir)) checkShown(t, path.replace(/.*\//, ""), text);
  await nothingLeft(t, host, lab);
  return { name: catalog.vm.name, files };
}

for (const { what, name, folder, stem } of CASES) {
  void t.test(`a VM whose name is ${what}, in ${JSON.stringify(stem)}.vmx`, async (t) => {
    const job = await wholeJob(t, folder);
    t.equal(job.name, name);
    t.equal(job.files.filter((file) => file.endsWith(".vmx")).length, 1);
    t.same(job.files.filter((file) => file.includes("scsi0-0")).sort(), ["scsi0-0-flat.vmdk", "scsi0-0.vmdk"]);
  });
}

for (const [index, stem] of UNTOLD.entries()) {
  void t.test(`a configuration file ${JSON.stringify(stem)}.vmx, which cannot be found`, async (t) => {
    const host = await ProxyHost.make(t, lab);
    const vm = lab.vms.find((one) => one.folder.endsWith(`/untold${index}`));
    const says = /\[ds1\] untold\d\/.*no such file/;
    await refused(t, host, ["mount", `moref:${vm?.ref ?? ""}`, host.mountPoint], { exit: "not-found", says });
    await nothingLeft(t, host, lab);
  });
}

void t.test("lists and choices show all of them", async (t) => {
  const host = await ProxyHost.make(t, lab);
  for (const args of [
    ["find", "any:"],
    ["ls", "/dc1"],
    ["find", `name:${NAMES["a way up"] ?? ""}`],
    ["find", "any:", "--json"],
    ["snapshot", "list", "any:"],
  ]) {
    const ended = await host.vmmount(args);
    t.equal(ended.code, 0, ended.stderr);
    checkShown(t, args.join(" "), ended.stdout + ended.stderr);
  }
  const all = await host.vmmount(["mount", "glob:*", host.mountPoint]);
  t.equal(all.code, 81, `those that cannot be found are not mounted: ${all.stderr}`);
  checkShown(t, "mount glob:*", all.stdout + all.stderr);
  const folders = await readdir(host.mountPoint);
  t.ok(folders.length >= CASES.length && folders.every((name) => /^[^\p{C}/]+$/u.test(name)), folders.join(" "));
  t.match(await host.vmmount(["umount", host.mountPoint]), { code: 0 });
  t.same([await readdir(host.mountPoint), await host.leftovers()], [[], NOTHING_LEFT]);
  await refused(t, host, ["mount", `name:a\n${FORGED}x`, host.mountPoint], {
    exit: "usage",
    says: /control characters/,
  });
});

async function scripted(t: Test, name: string): Promise<{ host: ProxyHost; methods: () => string[] }> {
  const server = await startScriptedVcenter(scriptedVm({ more: { name: val("xsd:string", name) } }));
  t.teardown(() => server[Symbol.asyncDispose]());
  const { sha256 } = await fetchFingerprint(server.url);
  const host = await ProxyHost.make(t, {
    url: server.url,
    user: "u",
    fingerprint: sha256,
    passwordPath: lab.passwordPath,
  });
  return { host, methods: () => server.methods() };
}

for (const [what, name] of Object.entries({
  NUL: "a&#0;b",
  "half a character": "a&#xD800;b",
  "no character": "a&#x110000;b",
})) {
  void t.test(`an answer with ${what}, which is not XML, is refused`, async (t) => {
    const { host, methods } = await scripted(t, name);
    await refused(t, host, ["mount", "moref:vm-1", host.mountPoint], {
      exit: "data",
      says: /Cannot read the server's answer/,
    });
    t.notMatch(methods().join(" "), /CreateSnapshot/);
    t.same((await host.leftovers()).journals, []);
  });
}

void t.test("an answer with escape sequences, which careless servers send", async (t) => {
  const { host } = await scripted(t, "a&#27;[2Jb&#7;");
  for (const args of [
    ["find", "moref:vm-1"],
    ["ls", "moref:vm-1"],
    ["find", "moref:vm-1", "--json"],
  ]) {
    const ended = await host.vmmount([...args, "-vvv"]);
    t.equal(ended.code, 0, ended.stderr);
    checkShown(t, args.join(" "), ended.stdout + ended.stderr);
    t.match(ended.stdout, "\\u001b[2J", "the name can be told from others");
  }
});

void t.test("a journal that somebody filled with control characters", async (t) => {
  const host = await ProxyHost.make(t, lab);
  await host.vmmount(["status"]);
  await run("mkdir", ["-p", join(host.stateDir, "sessions")]);
  await writeFile(join(host.stateDir, "sessions", "0123456789.journal"), "\u001b[2J\n\u202Enoise\n");
  const status = await host.vmmount(["status"]);
  t.equal(status.code, 0, status.stderr);
  checkShown(t, "status", status.stdout + status.stderr);
  await refused(t, host, ["umount", "0123456789"], { exit: "leftover", says: /damaged/ });
});
