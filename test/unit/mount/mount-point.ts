import { execFile } from "node:child_process";
import { mkdirSync, realpathSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { promisify } from "node:util";
import t from "tap";
import { BusyError, NotFoundError, RefusedError } from "../../../src/errors.js";
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
