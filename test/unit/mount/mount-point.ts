import { execFile, spawn } from "node:child_process";
import { once } from "node:events";
import {
  chmodSync,
  closeSync,
  mkdirSync,
  openSync,
  realpathSync,
  rmdirSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { promisify } from "node:util";
import t, { type Test } from "tap";
import { BusyError, NotFoundError, RefusedError } from "../../../src/errors.js";
import { LaunchedDaemon } from "../../../src/mount/launch-daemon.js";
import { canonicalMountPoint, checkMountPoint } from "../../../src/mount/mount-point.js";
import { scratch } from "../../fixtures/scratch.js";

const run = promisify(execFile);

void t.test("canonicalMountPoint() follows every symbolic link, and names what is not there", async (t) => {
  const top = realpathSync(scratch(t));
  mkdirSync(join(top, "real/mnt"), { recursive: true });
  symlinkSync("real", join(top, "parent"));
  symlinkSync("parent/mnt", join(top, "link"));
  symlinkSync(join(top, "link"), join(top, "link2"));
  symlinkSync("loop", join(top, "loop"));
  symlinkSync("nowhere", join(top, "dangling"));
  const mnt = join(top, "real/mnt");
  for (const path of ["real/mnt", "parent/mnt", "link", "link2", "link2/", "real/../link"]) {
    t.equal(await canonicalMountPoint(join(top, path)), mnt, path);
  }
  t.equal(await canonicalMountPoint(join(top, "dangling")), join(top, "nowhere"));
  t.equal(await canonicalMountPoint(join(top, "none/x")), join(top, "none/x"));
  t.equal(await canonicalMountPoint(join(top, "loop")), join(top, "loop"), "a loop ends");
  t.equal(await canonicalMountPoint("/"), "/");
  const before = process.cwd();
  process.chdir(top);
  t.teardown(() => {
    process.chdir(before);
  });
  t.equal(await canonicalMountPoint("link"), mnt);
});

void t.test("checkMountPoint() takes an empty directory", async (t) => {
  const top = realpathSync(scratch(t));
  mkdirSync(join(top, "ä b"));
  symlinkSync("ä b", join(top, "link"));
  t.equal(await checkMountPoint(join(top, "link")), join(top, "ä b"));
});

void t.test("checkMountPoint() refuses everything else, and says what to do", async (t) => {
  const top = realpathSync(scratch(t));
  mkdirSync(join(top, "full"));
  writeFileSync(join(top, "full/file"), "");
  await t.rejects(checkMountPoint(join(top, "none")), NotFoundError);
  await t.rejects(checkMountPoint(join(top, "none")), { message: /no such directory/, hint: /^mkdir -p "/ });
  await t.rejects(checkMountPoint(join(top, "full/file")), { name: "RefusedError", message: /not a directory/ });
  await t.rejects(checkMountPoint(join(top, "full/file/x")), RefusedError);
  await t.rejects(checkMountPoint(join(top, "full")), { message: /not empty/, exitCode: 79 });
  await t.rejects(checkMountPoint("/"), BusyError);
});

void t.test("an empty path is none, and one below a working directory that is gone is not found", async (t) => {
  await t.rejects(canonicalMountPoint(""), { name: "UsageError", message: /empty/ });
  await t.rejects(checkMountPoint(""), { name: "UsageError" });
  t.throws(() => LaunchedDaemon.launch("none", ""), { name: "UsageError" });
  const top = realpathSync(scratch(t));
  const before = process.cwd();
  mkdirSync(join(top, "gone"));
  process.chdir(join(top, "gone"));
  t.teardown(() => {
    process.chdir(before);
  });
  rmdirSync(join(top, "gone"));
  const notFound = { name: "NotFoundError", message: /^Cannot find "mnt": the working directory does not exist/ };
  await t.rejects(canonicalMountPoint("mnt"), notFound);
  t.throws(() => LaunchedDaemon.launch("none", "mnt"), notFound);
  t.equal(await canonicalMountPoint(top), top);
});

void t.test("a directory that cannot be read is refused", async (t) => {
  const top = realpathSync(scratch(t));
  const directory = join(top, "mnt");
  mkdirSync(directory, 0o311);
  chmodSync(top, 0o711);
  if (process.getuid?.() === 0) {
    process.seteuid?.("nobody");
    t.teardown(() => process.seteuid?.(0));
  }
  await t.rejects(checkMountPoint(directory), { name: "RefusedError", message: /EACCES: .*scandir/ });
});

void t.test("checkMountPoint() refuses a mount, without looking into it", async (t) => {
  if (process.getuid?.() !== 0) {
    t.comment("skipped: needs root");
    return;
  }
  const where = join(realpathSync(scratch(t)), "mnt");
  mkdirSync(where);
  await run("mount", ["-t", "tmpfs", "somebody", where]);
  t.teardown(() => run("umount", [where]));
  await t.rejects(checkMountPoint(where), {
    name: "BusyError",
    message: /"somebody" \(tmpfs\) is mounted there/,
    hint: "Choose another directory",
  });
});

/** Nobody reads what the kernel asks this mount. */
async function hungMount(t: Test): Promise<string> {
  const mountPoint = join(realpathSync(scratch(t)), "mnt");
  mkdirSync(mountPoint);
  symlinkSync("mnt", `${mountPoint}-link`);
  const device = openSync("/dev/fuse", "r+");
  const words = ["-i", "-t", "fuse.vmmount", "-o", "ro,fd=3,rootmode=40000,user_id=0,group_id=0"];
  const mount = spawn("mount", [...words, "vmmount:k3v9q2m7xa", mountPoint], {
    stdio: ["ignore", "ignore", "inherit", device],
  });
  const [code] = (await once(mount, "close")) as [number | null];
  t.equal(code, 0);
  t.teardown(async () => {
    await run("umount", ["-l", mountPoint]);
    // Whoever still waits gets an error.
    closeSync(device);
  });
  return mountPoint;
}

const noMount = process.getuid?.() === 0 ? false : "needs root";

void t.test("a mount that hangs is not asked for what lies below it", { skip: noMount, timeout: 20_000 }, async (t) => {
  const mountPoint = await hungMount(t);
  for (const below of ["x", "x/y", "scsi0-0-flat.vmdk"]) {
    t.equal(await canonicalMountPoint(join(mountPoint, below)), join(mountPoint, below));
    t.equal(await canonicalMountPoint(join(`${mountPoint}-link`, below)), join(mountPoint, below));
    await t.rejects(checkMountPoint(join(mountPoint, below)), {
      name: "RefusedError",
      message: /is inside vmmount session k3v9q2m7xa$/,
    });
  }
});
