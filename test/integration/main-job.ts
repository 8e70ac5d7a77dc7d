import { spawn } from "node:child_process";
import { once } from "node:events";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import t from "tap";
import type { SessionStatus } from "../../src/mount/control-protocol.js";
import { run } from "../fixtures/host/command-line.js";
import { labFor } from "../fixtures/host/lab-host.js";
import { NOTHING_LEFT, ProxyHost } from "../fixtures/host/proxy-host.js";

void t.test("a mount shows the tree of the snapshot, and umount leaves nothing", async (t) => {
  const lab = await labFor(t);
  const host = await ProxyHost.make(t, lab);
  const vm = lab.vm("web01");
  const status = await host.json<SessionStatus>(["mount", "/dc1/web01", host.mountPoint]);
  t.equal(status.vm.path, "/dc1/web01");
  t.equal(status.snapshot.consistency, "quiesced");
  t.equal(vm.snapshots.length, 1);
  t.equal(vm.snapshots[0]?.name, `vmmount-${status.session}`);

  const listed = await run("ls", ["-l", host.mountPoint]);
  for (const name of ["catalog.json", "web01.vmx", "web01.nvram", "scsi0-0.vmdk", "scsi0-0-flat.vmdk"]) {
    t.match(
      listed.stdout,
      new RegExp(`^-r--------.* ${name.replaceAll(".", "\\.")}$`, "m"),
      `${name} is shown, mode 0400`,
    );
  }
  t.notMatch(listed.stdout, /scsi0-2/, "the independent disk has no file");
  const catalog = JSON.parse((await run("cat", [join(host.mountPoint, "catalog.json")])).stdout) as {
    disks: { label: string; included: boolean; reason?: string }[];
  };
  t.same(
    catalog.disks.map(({ included }) => included),
    [true, true, false],
  );
  t.match(catalog.disks[2]?.reason, /independent/);

  const info = await run("qemu-img", ["info", "--output=json", join(host.mountPoint, "scsi0-0.vmdk")]);
  t.equal(info.code, 0, info.stderr);
  t.match(JSON.parse(info.stdout), { format: "vmdk", "virtual-size": vm.disks[0]?.capacity });
  const converted = join(host.directory, "converted.raw");
  const convert = await run("qemu-img", ["convert", "-O", "raw", join(host.mountPoint, "scsi0-0.vmdk"), converted]);
  t.equal(convert.code, 0, convert.stderr);
  const sum = await run("sha256sum", [converted]);
  t.equal(sum.stdout.slice(0, 64), await vm.hashDisk(vm.disks[0]?.key ?? 0, vm.snapshots[0]?.ref ?? ""));

  const asked = await host.json<{ sessions: (SessionStatus & { alive: boolean })[] }>(["status"]);
  t.match(asked.sessions, [{ alive: true, session: status.session, state: "serving", mountPoint: host.mountPoint }]);
  const umount = await host.vmmount(["umount", host.mountPoint]);
  t.equal(umount.code, 0, umount.stderr);
  t.match(umount.stdout, /removed the snapshot/);
  t.same(vm.snapshots, []);
  t.same(await host.leftovers(), NOTHING_LEFT);
  t.equal(lab.traffic.report().sessions, 0, "every session is logged out");
  const again = await host.vmmount(["umount", host.mountPoint]);
  t.equal(again.code, 0, "umount again is success");
  t.match(again.stdout, /Nothing is mounted/);
});

void t.test("umount(8) by hand removes the snapshot as well", async (t) => {
  const lab = await labFor(t);
  const host = await ProxyHost.make(t, lab);
  await host.json(["mount", "name:web01", host.mountPoint]);
  t.equal(lab.vm("web01").snapshots.length, 1);
  t.equal((await run("umount", [host.mountPoint])).code, 0);
  // The daemon ends by itself; umount of the session waits for it, or finds it gone.
  t.equal((await host.vmmount(["umount", host.mountPoint])).code, 0);
  t.same(lab.vm("web01").snapshots, []);
  t.same((await host.leftovers()).mounts, []);
});

void t.test("SIGTERM to the daemon unmounts and removes the snapshot", async (t) => {
  const lab = await labFor(t);
  const host = await ProxyHost.make(t, lab);
  const { pid } = await host.json<SessionStatus>(["mount", "name:web01", host.mountPoint]);
  process.kill(pid, "SIGTERM");
  const umount = await host.vmmount(["umount", host.mountPoint]);
  t.equal(umount.code, 0, umount.stderr);
  t.same(lab.vm("web01").snapshots, []);
  t.same((await host.leftovers()).mounts, []);
});

void t.test("after SIGKILL of the daemon umount cleans up from the journal", async (t) => {
  const lab = await labFor(t);
  const host = await ProxyHost.make(t, lab);
  const { pid, session } = await host.json<SessionStatus>(["mount", "name:web01", host.mountPoint]);
  process.kill(pid, "SIGKILL");
  const cat = await run("cat", [join(host.mountPoint, "catalog.json")]);
  t.not(cat.code, 0);
  t.match(cat.stderr, /Transport endpoint is not connected|Software caused connection abort/);
  const status = await host.json<{ sessions: { alive: boolean; session: string }[] }>(["status"]);
  t.match(status.sessions, [{ alive: false, session }]);
  const umount = await host.vmmount(["umount", host.mountPoint]);
  t.equal(umount.code, 0, umount.stderr);
  t.match(umount.stdout, /removed the snapshot/);
  t.same(lab.vm("web01").snapshots, []);
  t.same(await host.leftovers(), NOTHING_LEFT);
});

void t.test("umount refuses while a file is open, --force detaches it", async (t) => {
  const lab = await labFor(t);
  const host = await ProxyHost.make(t, lab);
  await host.json(["mount", "name:web01", host.mountPoint]);
  let reader = 0;
  const image = join(host.mountPoint, "scsi0-0-flat.vmdk");
  const script = `import os,sys,time
fd=os.open(sys.argv[1],os.O_RDONLY); os.read(fd,4096); print("open",flush=True); sys.stdin.read()
try:
  os.pread(fd,4096,50*1024*1024); print("read")
except OSError as e: print("errno",e.errno)
`;

  const child = spawn("python3", ["-c", script, image], { stdio: ["pipe", "pipe", "inherit"] });
  reader = child.pid ?? 0;
  await once(child.stdout, "data");
  const refused = await host.vmmount(["umount", host.mountPoint]);
  t.equal(refused.code, 73, refused.stderr);
  t.match(refused.stderr, new RegExp(`python3 \\(pid ${reader}\\)`), "the message names who uses it");
  t.equal(lab.vm("web01").snapshots.length, 1, "the snapshot is still there for the reader");
  const forced = await host.vmmount(["umount", "--force", host.mountPoint]);
  t.equal(forced.code, 0, forced.stderr);
  t.same(lab.vm("web01").snapshots, []);
  let said = "";
  child.stdout.setEncoding("utf8").on("data", (text: string) => (said += text));
  child.stdin.end();
  await once(child, "close");
  t.match(said, /^errno \d+/, "further reads of the open file fail");
  t.same(await host.leftovers(), NOTHING_LEFT);
});

void t.test("a second mount of the same VM is refused and names the holder", async (t) => {
  const lab = await labFor(t);
  const host = await ProxyHost.make(t, lab);
  await host.json(["mount", "name:web01", host.mountPoint]);
  const other = join(host.directory, "other");
  await run("mkdir", [other]);
  const second = await host.vmmount(["mount", "name:web01", other]);
  t.equal(second.code, 73);
  t.match(second.stderr, host.mountPoint);
  t.equal(lab.vm("web01").snapshots.length, 1);
  t.equal((await host.vmmount(["umount", "--all"])).code, 0);
  t.same(await host.leftovers(), NOTHING_LEFT);
});

void t.test("the VM with the awkward name is mounted by its path and by its name", async (t) => {
  const lab = await labFor(t);
  const host = await ProxyHost.make(t, lab);
  const vm = lab.vms.find(({ name }) => name !== "web01");
  t.ok(vm);
  const found = await host.json<{ vms: { path: string }[] }>(["find", `name:${vm?.name ?? ""}`]);
  const path = found.vms[0]?.path ?? "";
  for (const locator of [path, `name:${vm?.name ?? ""}`]) {
    const status = await host.json<SessionStatus>(["mount", locator, host.mountPoint]);
    t.equal(status.vm.name, vm?.name);
    t.equal(status.snapshot.consistency, "offline");
    const disk = vm?.disks[0];
    const sum = await run("sha256sum", [join(host.mountPoint, `${disk?.node ?? ""}-flat.vmdk`)]);
    t.equal(sum.stdout.slice(0, 64), await vm?.hashDisk(disk?.key ?? 0, "now"));
    t.equal((await host.vmmount(["umount", host.mountPoint])).code, 0);
  }
  t.same(await host.leftovers(), NOTHING_LEFT);
});

void t.test("no password in arguments, environment, log or journal, at the highest level", async (t) => {
  const lab = await labFor(t);
  const host = await ProxyHost.make(t, lab);
  const ended = await host.vmmount(["mount", "name:web01", host.mountPoint, "-vvv"]);
  t.equal(ended.code, 0, ended.stderr);
  t.match(ended.stderr, /trace/, "wire dumps are there");
  const [pid = 0] = await host.daemons();
  const secret = lab.password;
  const places: Record<string, string> = {
    "output of mount": ended.stdout + ended.stderr,
    "arguments of the daemon": await readFile(`/proc/${pid}/cmdline`, "utf8"),
    "environment of the daemon": await readFile(`/proc/${pid}/environ`, "utf8"),
  };
  await run("sha256sum", [join(host.mountPoint, "scsi0-1-flat.vmdk")]);
  const files = await run("grep", ["-rlF", "--", secret, host.stateDir, host.runtimeDir]);
  t.equal(files.stdout, "", "no file of state or runtime holds it");
  const umount = await host.vmmount(["umount", host.mountPoint, "-vvv"]);
  places["output of umount"] = umount.stdout + umount.stderr;
  for (const [place, text] of Object.entries(places)) {
    t.ok(text.length > 0, `${place} was read`);
    t.notOk(text.includes(secret), `${place} does not hold the password`);
  }
  const after = await run("grep", ["-rlF", "--", secret, host.stateDir]);
  t.equal(after.stdout, "", "nor does the log after the end");
  const modes = await run("find", [host.stateDir, host.runtimeDir, "-perm", "/077"]);
  t.equal(modes.stdout, "", "nothing there is open to others");
});
