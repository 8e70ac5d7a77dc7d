import { mkdir, mkdtemp, open, rm, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import t, { type Test } from "tap";
import type { Catalog } from "../../src/catalog.js";
import { dirUrl } from "../../src/dir-url.js";
import type { SessionStatus } from "../../src/mount/control-protocol.js";
import { run, succeed } from "../fixtures/host/command-line.js";
import { NOTHING_LEFT, ProxyHost } from "../fixtures/host/proxy-host.js";
import { filesBelow, sha256 } from "../fixtures/host/tree-facts.js";
import { vmFolderFor } from "../fixtures/host/vm-folder.js";

/** The VMs that `vmmount lab init` makes, read as files: no server runs. */
async function folderHost(t: Test): Promise<{ folder: string; host: ProxyHost }> {
  const folder = await vmFolderFor(t);
  return { folder, host: await ProxyHost.make(t, { url: dirUrl(folder) }) };
}

void t.test("a mount shows every disk of the folder, and umount leaves nothing", async (t) => {
  const { folder, host } = await folderHost(t);
  const ended = await host.vmmount(["mount", "/web01", host.mountPoint, "--json"]);
  t.equal(ended.code, 0, ended.stderr);
  t.notMatch(ended.stderr, /RUNNING/);
  const status = JSON.parse(ended.stdout) as SessionStatus;
  t.match(status.snapshot, { name: null, ref: null, consistency: "offline" });
  const catalog = JSON.parse(await succeed("cat", [join(host.mountPoint, "catalog.json")])) as Catalog;
  t.match(catalog, {
    server: { kind: "dir", url: dirUrl(folder) },
    vm: { ref: "web01/web01.vmx", path: "/web01", powerState: "off" },
    snapshot: { ref: null, name: null, consistency: "offline" },
    configFiles: ["web01.vmx", "web01.nvram"],
  });
  t.strictSame(
    catalog.disks.map(({ node, included, mode }) => [node.unit, included, mode]),
    [
      [0, true, "persistent"],
      [1, true, "persistent"],
      [2, true, "independent_persistent"],
    ],
    "an independent disk can be read: no snapshot leaves it out",
  );
  for (const [node, stem] of [
    ["scsi0-0", "web01"],
    ["scsi0-1", "web01_1"],
    ["scsi0-2", "web01_2"],
  ] as const) {
    const original = join(folder, "web01", `${stem}-flat.vmdk`);
    t.equal(await sha256(join(host.mountPoint, `${node}-flat.vmdk`)), await sha256(original), node);
  }
  const umount = await host.vmmount(["umount", host.mountPoint]);
  t.equal(umount.code, 0, umount.stderr);
  t.match(umount.stdout, /there was no snapshot/);
  t.same(await host.leftovers(), NOTHING_LEFT);
});

/** The folder on tmpfs, for /tmp of a container may lie on overlayfs, from which the kernel passes nothing through. */
async function folderInMemory(t: Test): Promise<string> {
  const directory = await mkdtemp("/dev/shm/vmm-");
  t.teardown(() => rm(directory, { recursive: true, force: true }));
  await succeed("cp", ["-a", await vmFolderFor(t), directory]);
  return join(directory, "ds1");
}

for (const passthrough of ["auto", "off"] as const) {
  void t.test(`who reads the disks of a folder, and that status tells it: passthrough ${passthrough}`, async (t) => {
    const folder = await folderInMemory(t);
    const host = await ProxyHost.make(t, { url: dirUrl(folder) });
    const env = { VMMOUNT_PASSTHROUGH: passthrough };
    const mount = await host.vmmount(["mount", "/web01", host.mountPoint, "--json"], { env });
    t.equal(mount.code, 0, mount.stderr);
    const { driver } = JSON.parse(mount.stdout) as SessionStatus;
    if (passthrough === "auto" && !driver.includes("passthrough")) {
      t.pass("passthrough", { skip: "this kernel offers no FUSE passthrough" });
      return;
    }
    let diskBytes = 0;
    for (const [node, stem] of [
      ["scsi0-0", "web01"],
      ["scsi0-1", "web01_1"],
    ] as const) {
      const original = join(folder, "web01", `${stem}-flat.vmdk`);
      t.equal(await sha256(join(host.mountPoint, `${node}-flat.vmdk`)), await sha256(original), node);
      diskBytes += (await stat(original)).size;
    }
    const { sessions } = await host.json<{ sessions: SessionStatus[] }>(["status"]);
    t.match(sessions[0]!.traffic, {
      passthroughFiles: passthrough === "auto" ? 2 : 0,
      servedBytes: passthrough === "auto" ? 0 : diskBytes,
      // The kernel has them already.
      cacheBytes: 0,
    });
    const shown = (await host.vmmount(["status"])).stdout;
    t.equal(shown.includes("the kernel reads 2 local files by itself"), passthrough === "auto", shown);
    t.equal((await host.vmmount(["umount", host.mountPoint])).code, 0);
    t.same(await host.leftovers(), NOTHING_LEFT);
  });
}

void t.test("holes are those of the files, for tar as well", async (t) => {
  const { folder, host } = await folderHost(t);
  await host.json(["mount", "/web01", host.mountPoint]);
  const [shown] = (await filesBelow(host.mountPoint)).filter(({ path }) => path === "scsi0-0-flat.vmdk");
  const [original] = (await filesBelow(join(folder, "web01"))).filter(({ path }) => path === "web01-flat.vmdk");
  t.ok(original!.allocated < original!.size / 2, "the disk is thin");
  t.ok(
    Math.abs(shown!.allocated - original!.allocated) < original!.size / 100,
    `${shown!.allocated} of ${original!.allocated} bytes are shown as allocated`,
  );
  const archive = join(host.directory, "web01.tar");
  await succeed("tar", ["-C", host.mountPoint, "-Scf", archive, "."]);
  const restored = join(host.directory, "restored");
  await mkdir(restored);
  await succeed("tar", ["-C", restored, "-xf", archive]);
  for (const [node, stem] of [
    ["scsi0-0", "web01"],
    ["scsi0-1", "web01_1"],
    ["scsi0-2", "web01_2"],
  ] as const) {
    const sum = await sha256(join(folder, "web01", `${stem}-flat.vmdk`));
    t.equal(await sha256(join(restored, `${node}-flat.vmdk`)), sum, `${node} after a restore`);
  }
  t.equal((await host.vmmount(["umount", host.mountPoint])).code, 0);
  t.same(await host.leftovers(), NOTHING_LEFT);
});

void t.test("a VM that looks running is mounted with a loud warning and the word for it", async (t) => {
  const { folder, host } = await folderHost(t);
  await mkdir(join(folder, "web01", "web01.vmx.lck"));
  const ended = await host.vmmount(["mount", "name:web01", host.mountPoint]);
  t.equal(ended.code, 0, ended.stderr);
  t.match(ended.stderr, /RUNNING: "web01\.vmx\.lck" is there/);
  t.match(ended.stdout, /no snapshot, inconsistent/);
  const { sessions } = await host.json<{ sessions: SessionStatus[] }>(["status"]);
  t.match(await succeed("cat", [sessions[0]!.log]), /RUNNING: /, "the log has it too");
  const catalog = JSON.parse(await succeed("cat", [join(host.mountPoint, "catalog.json")])) as Catalog;
  t.equal(catalog.snapshot.consistency, "inconsistent");
  await guestWrites(folder);
  const umount = await host.vmmount(["umount", host.mountPoint]);
  t.equal(umount.code, 0, "the user was told");
  t.match(await succeed("cat", [sessions[0]!.log]), /web01-flat\.vmdk\\" was written: as the warning at the start/);
});

/** Changes one byte of a disk, as a guest that was started does. */
async function guestWrites(folder: string): Promise<void> {
  await using file = await open(join(folder, "web01", "web01-flat.vmdk"), "r+");
  await file.write("x", 4096);
}

void t.test("a VM that is started during the mount makes the backup fail at umount", async (t) => {
  const { folder, host } = await folderHost(t);
  await host.json(["mount", "/web01", host.mountPoint]);
  await sha256(join(host.mountPoint, "scsi0-0-flat.vmdk"));
  await guestWrites(folder);
  const umount = await host.vmmount(["umount", host.mountPoint]);
  t.equal(umount.code, 74, umount.stderr);
  t.match(umount.stderr, /"web01" cannot be trusted: while it was mounted, "web01-flat\.vmdk" was written/);
  t.match(umount.stderr, /shut it down, mount it again/);
  t.same(await host.leftovers(), NOTHING_LEFT);
});

void t.test("ls shows a VM of which a disk file is missing, and mount names the file", async (t) => {
  const { folder, host } = await folderHost(t);
  await rm(join(folder, "web01", "web01_1-flat.vmdk"));
  const ls = await host.vmmount(["ls", "/web01"]);
  t.equal(ls.code, 0, ls.stderr);
  t.match(ls.stdout, /^scsi0-0 .* yes$/m);
  t.match(ls.stdout, /^scsi0-1 .* a mount will fail: Cannot read ".*web01_1-flat\.vmdk": there is no such file/m);
  const mount = await host.vmmount(["mount", "/web01", host.mountPoint]);
  t.equal(mount.code, 66, mount.stderr);
  t.match(mount.stderr, /web01_1-flat\.vmdk": there is no such file/);
  t.same(await host.leftovers(), NOTHING_LEFT);
});

void t.test("after SIGKILL of the daemon umount needs no server: the folder may even be gone", async (t) => {
  const { folder, host } = await folderHost(t);
  const { pid, session } = await host.json<SessionStatus>(["mount", "/web01", host.mountPoint]);
  process.kill(pid, "SIGKILL");
  t.not((await run("cat", [join(host.mountPoint, "catalog.json")])).code, 0);
  const status = await host.json<{ sessions: unknown[] }>(["status"]);
  t.match(status.sessions, [{ alive: false, session }]);
  await rm(folder, { recursive: true });
  const umount = await host.vmmount(["umount", host.mountPoint]);
  t.equal(umount.code, 0, umount.stderr);
  t.match(umount.stdout, /there was no snapshot/);
  t.same(await host.leftovers(), NOTHING_LEFT);
});

void t.test("--quiesce require is refused before anything happens", async (t) => {
  const { host } = await folderHost(t);
  const ended = await host.vmmount(["mount", "/web01", host.mountPoint, "--quiesce", "require"]);
  t.equal(ended.code, 72);
  t.match(ended.stderr, /it is a folder, from which no guest can be reached/);
  t.same(await host.leftovers(), NOTHING_LEFT);
});

void t.test("ls, find and --server without a configuration", async (t) => {
  const { folder, host } = await folderHost(t);
  await writeFile(host.configPath, `[state]\ndir = "${host.stateDir}"\n[runtime]\ndir = "${host.runtimeDir}"\n`);
  const server = ["--server", dirUrl(folder)];
  const ls = await host.json<{ entries: { kind: string; path: string }[] }>(["ls", ...server]);
  t.strictSame(
    ls.entries.map(({ kind, path }) => [kind, path]),
    [
      ["vm", `/Jörg's "50%25" a_b VM`],
      ["vm", "/web01"],
    ],
  );
  const found = await host.json<{ vms: { name: string }[] }>(["find", `name:Jörg's "50%" a/b VM`, ...server]);
  t.strictSame(
    found.vms.map(({ name }) => name),
    [`Jörg's "50%" a/b VM`],
  );
  const asked = await host.vmmount(["find", "powerstate:on", ...server]);
  t.equal(asked.code, 64);
  t.match(asked.stderr, /can only be guessed/);
  const login = await host.vmmount(["ls", ...server, "--user", "me"]);
  t.equal(login.code, 64);
  t.match(login.stderr, /nobody logs in to a folder/);
});
