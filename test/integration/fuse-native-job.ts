import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import t from "tap";
import type { SessionStatus } from "../../src/mount/control-protocol.js";
import { NODE_ARGUMENTS, PROGRAM, run, succeed } from "../fixtures/host/command-line.js";
import { labFor } from "../fixtures/host/lab-host.js";
import { NOTHING_LEFT, ProxyHost } from "../fixtures/host/proxy-host.js";
import { sha256 } from "../fixtures/host/tree-facts.js";

void t.test("the main job through fuse-native: cp and tar -S copy the disk, umount leaves nothing", async (t) => {
  const lab = await labFor(t);
  const host = await ProxyHost.make(t, lab);
  const vm = lab.vm("web01");
  const status = await host.json<SessionStatus>([
    "mount",
    "/dc1/web01",
    host.mountPoint,
    "--fuse-driver",
    "fuse-native",
  ]);
  t.match(status.driver, /^fuse-native \(libfuse 2\)/);
  t.match((await host.vmmount(["status"])).stdout, /is served by fuse-native \(libfuse 2\)/);

  const name = "scsi0-0-flat.vmdk";
  const expected = await vm.hashDisk(vm.disks[0]?.key ?? 0, status.snapshot.ref ?? "");
  const copies = join(host.directory, "copies");
  await mkdir(copies);
  await succeed("cp", [join(host.mountPoint, name), join(copies, "copied")]);
  t.equal(await sha256(join(copies, "copied")), expected, "cp");
  const archive = join(copies, "web01.tar");
  await succeed("tar", ["-C", host.mountPoint, "-Scf", archive, "."]);
  await succeed("tar", ["-C", copies, "-xf", archive]);
  t.equal(await sha256(join(copies, name)), expected, "tar -S");
  const allocated = Number(await succeed("stat", ["-c", "%b", join(copies, name)])) * 512;
  t.ok(allocated < (vm.disks[0]?.capacity ?? 0) / 2, `tar -S found the holes by reading them (${allocated} bytes)`);

  const umount = await host.vmmount(["umount", host.mountPoint]);
  t.equal(umount.code, 0, umount.stderr);
  t.match(umount.stdout, /removed the snapshot/);
  t.same(vm.snapshots, []);
  t.same(await host.leftovers(), NOTHING_LEFT);
});

void t.test("umount(8) by hand and SIGTERM remove the snapshot as well", async (t) => {
  const lab = await labFor(t);
  const host = await ProxyHost.make(t, lab);
  const ends = {
    "umount(8)": () => run("umount", [host.mountPoint]),
    SIGTERM: ({ pid }: SessionStatus) => process.kill(pid, "SIGTERM"),
  };
  for (const [how, end] of Object.entries(ends)) {
    const env = { VMMOUNT_FUSE_DRIVER: "fuse-native" };
    const ended = await host.vmmount(["mount", "name:web01", host.mountPoint, "--json"], { env });
    t.equal(ended.code, 0, ended.stderr);
    const status = JSON.parse(ended.stdout) as SessionStatus;
    t.match(status.driver, /^fuse-native/);
    await end(status);
    t.equal((await host.vmmount(["umount", host.mountPoint])).code, 0);
    t.same(lab.vm("web01").snapshots, [], how);
    t.same(await host.leftovers(), NOTHING_LEFT, how);
  }
});

void t.test("without libfuse 2 nothing is asked of the server, and the message says what to install", async (t) => {
  const lab = await labFor(t);
  const host = await ProxyHost.make(t, lab);
  const library = (await succeed("sh", ["-c", "ldconfig -p | sed -n 's/.*libfuse.so.2 .*=> //p' | head -1"])).trim();
  t.not(library, "", "it is installed here");
  // In a mount namespace of its own the library is an empty file.
  const script = 'mount --bind /dev/null "$1" && shift && exec "$@"';
  const program = [
    "sh",
    "-c",
    script,
    "sh",
    await realPath(library),
    process.execPath,
    ...NODE_ARGUMENTS,
    PROGRAM,
    "mount",
    "/dc1/web01",
  ];
  const ended = await run("unshare", ["-m", ...program, host.mountPoint, "--fuse-driver", "fuse-native"], {
    env: { VMMOUNT_CONFIG: host.configPath },
  });
  t.equal(ended.code, 69, ended.stderr);
  t.match(ended.stderr, /Cannot use the FUSE driver "fuse-native": .*libfuse\.so\.2.*apt-get install libfuse2/);
  t.equal(lab.traffic.report().sessions, 0);
  t.same(await host.leftovers(), NOTHING_LEFT);
});

async function realPath(path: string): Promise<string> {
  return (await succeed("realpath", [path])).trim();
}
