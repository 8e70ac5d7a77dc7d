import { spawn } from "node:child_process";
import { once } from "node:events";
import { chmodSync, chownSync, copyFileSync, mkdirSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import t, { type Test } from "tap";
import type { SessionStatus } from "../../src/mount/control-protocol.js";
import { labDirectory } from "../fixtures/host/lab-host.js";
import { LabProcess } from "../fixtures/host/lab-process.js";
import { modeAndOwner, NormalUser } from "../fixtures/host/normal-user.js";
import { PROGRAM, run } from "../fixtures/host/command-line.js";
import { cannotMount } from "../fixtures/mounting.js";

// The whole program as a user without any right: fusermount3 mounts for him, and everything he leaves is his.

const skip = cannotMount();

async function userWithLab(t: Test): Promise<{ user: NormalUser; lab: LabProcess }> {
  const user = await NormalUser.make(t);
  const directory = await labDirectory(t);
  await user.own(directory);
  const lab = await LabProcess.start(t, directory, "127.0.0.1:0", user.vmmountCommand);
  const { url, user: account, passwordPath, fingerprint } = lab.server;
  await user.configure(`[server.lab]
url = "${url}"
user = "${account}"
password_file = "${passwordPath}"
fingerprint = "${fingerprint}"
[retry]
max = 1
backoff = "50ms"
`);
  return { user, lab };
}

void t.test("mount, read, status and umount", { skip }, async (t) => {
  const { user, lab } = await userWithLab(t);
  const status = await user.json<SessionStatus>(["mount", "name:web01", user.mountPoint]);
  const [line = ""] = await user.mounts();
  t.match(line, / ro,nosuid,nodev,noexec,/);
  t.match(line, new RegExp(` - fuse\\.vmmount vmmount:${status.session} ro,user_id=${user.uid},group_id=${user.gid},`));
  t.match(line, /default_permissions/);
  const image = join(user.mountPoint, "scsi0-0-flat.vmdk");
  const sum = await user.run(["sha256sum", image]);
  t.equal(sum.stdout.slice(0, 64), await lab.hash("web01", 2000, status.snapshot.ref ?? "now"), sum.stderr);
  const listed = await user.run(["stat", "-c", "%a %u %g", image]);
  t.equal(listed.stdout.trim(), `400 ${user.uid} ${user.gid}`);
  const asRoot = await run("cat", [image]);
  t.match(asRoot.stderr, /Permission denied/, "nobody else enters, not even root");

  const { sessions } = await user.json<{ sessions: (SessionStatus & { alive: boolean })[] }>(["status"]);
  t.match(sessions, [{ alive: true, session: status.session, driver: /read-ahead 128 KiB$/ }]);
  t.match(status.log, join(user.home, ".local/state/vmmount/logs"));
  const complaints = readFileSync(status.log, "utf8").match(/"level":"(warn|error)".*/g) ?? [];
  t.strictSame(
    complaints.filter((entry) => !entry.includes("NOT in this backup")),
    [],
    "what only root can do is no warning",
  );
  t.equal(modeAndOwner(join(user.runtimeDir, "vmmount")), `700 ${user.uid}`);

  const umount = await user.vmmount(["umount", user.mountPoint]);
  t.equal(umount.code, 0, umount.stderr);
  t.match(umount.stdout, /removed the snapshot/);
  t.strictSame(await lab.snapshots("web01"), []);
  t.strictSame(await user.mounts(), []);
});

void t.test("the demo runs to its end, and removes what it made", { skip }, async (t) => {
  const user = await NormalUser.make(t);
  const folder = join(user.home, "tmp");
  mkdirSync(folder);
  await user.own(folder);
  const ended = await user.vmmount(["demo"], { TMPDIR: folder });
  t.equal(ended.code, 0, ended.stderr);
  t.match(ended.stdout, /the restored disks are identical to the snapshot, and nothing is left behind/);
  t.strictSame(readdirSync(folder), []);
  t.strictSame(await user.mounts(), []);
});

void t.test("umount under an open file: refused by name, then by force", { skip }, async (t) => {
  const { user, lab } = await userWithLab(t);
  await user.json(["mount", "name:web01", user.mountPoint]);
  const script = `import os, sys
fd = os.open(sys.argv[1], os.O_RDONLY); print("open", flush=True); sys.stdin.read()
try: os.pread(fd, 4096, 50 << 20); print("read")
except OSError as e: print("errno", e.errno)`;
  const ids = [`--reuid=${user.uid}`, `--regid=${user.gid}`, "--clear-groups"];
  const reader = spawn(
    "setpriv",
    [...ids, "/usr/bin/python3", "-c", script, join(user.mountPoint, "scsi0-0-flat.vmdk")],
    { stdio: ["pipe", "pipe", "inherit"] },
  );
  t.teardown(() => reader.kill("SIGKILL"));
  await Promise.race([once(reader.stdout, "data"), once(reader, "exit")]);
  const refused = await user.vmmount(["umount", user.mountPoint]);
  t.equal(refused.code, 73, refused.stderr);
  t.match(refused.stderr, /python3 \(pid \d+\)/);
  const forced = await user.vmmount(["umount", "--force", user.mountPoint]);
  t.equal(forced.code, 0, forced.stderr);
  let said = "";
  reader.stdout.setEncoding("utf8").on("data", (text: string) => (said += text));
  reader.stdin.end();
  await once(reader, "close");
  t.match(said, /^errno \d+/, "its further reads fail");
  t.strictSame(await lab.snapshots("web01"), []);
  t.strictSame(await user.mounts(), []);
});

void t.test("the ends that nobody asked for: SIGKILL, SIGTERM, fusermount3 by hand", { skip }, async (t) => {
  const { user, lab } = await userWithLab(t);
  const killed = await user.json<SessionStatus>(["mount", "name:web01", user.mountPoint]);
  process.kill(killed.pid, "SIGKILL");
  const { sessions } = await user.json<{ sessions: { alive: boolean }[] }>(["status"]);
  t.match(sessions, [{ alive: false, session: killed.session }]);
  const cleaned = await user.vmmount(["umount", user.mountPoint]);
  t.equal(cleaned.code, 0, cleaned.stderr);
  t.match(cleaned.stdout, /Cleaned up dead session .* removed the snapshot/);
  t.strictSame(await user.mounts(), [], "the dead mount is gone");
  t.strictSame(await lab.snapshots("web01"), []);

  for (const end of ["SIGTERM", "by hand"] as const) {
    const { pid } = await user.json<SessionStatus>(["mount", "name:web01", user.mountPoint]);
    if (end === "SIGTERM") process.kill(pid, "SIGTERM");
    else t.equal((await user.run(["fusermount3", "-u", user.mountPoint])).code, 0);
    const umount = await user.vmmount(["umount", user.mountPoint]);
    t.equal(umount.code, 0, `${end}: ${umount.stderr}`);
    t.strictSame(await lab.snapshots("web01"), [], end);
    t.strictSame(await user.mounts(), [], end);
  }
});

void t.test("what fusermount3 refuses is said with what to do, and leaves no snapshot", { skip }, async (t) => {
  const { user, lab } = await userWithLab(t);
  const theirs = join(user.home, "of-root");
  mkdirSync(theirs, { mode: 0o755 });
  const refused = await user.vmmount(["mount", "name:web01", theirs]);
  t.equal(refused.code, 79, refused.stderr);
  t.match(refused.stderr, /no write access to mountpoint.*a directory of his own/);
  const missing = await user.vmmount(["mount", "name:web01", user.mountPoint], { PATH: "/nonexistent" });
  t.equal(missing.code, 69, missing.stderr);
  t.match(missing.stderr, /Install the Debian package fuse3/);
  if (/^\s*user_allow_other/m.test(readFileSync("/etc/fuse.conf", "utf8"))) {
    t.comment("user_allow_other is set on this machine: --allow-other is not refused");
  } else {
    const others = await user.vmmount(["mount", "name:web01", user.mountPoint, "--allow-other"]);
    t.equal(others.code, 69, others.stderr);
    t.match(others.stderr, /user_allow_other.*\/etc\/fuse\.conf/);
  }
  t.strictSame(await lab.snapshots("web01"), []);
  t.strictSame(await user.mounts(), []);
});

void t.test("mounted from cron, unmounted in a login session, and by root", { skip }, async (t) => {
  const { user, lab } = await userWithLab(t);
  const shared = `/tmp/vmmount-${user.uid}`;
  t.teardown(() => run("rm", ["-rf", shared]));
  const cron = { XDG_RUNTIME_DIR: "" };
  for (const byRoot of [false, true]) {
    const mount = await user.vmmount(["mount", "name:web01", user.mountPoint], cron);
    t.equal(mount.code, 0, mount.stderr);
    const { sessions } = await user.json<{ sessions: { alive: boolean }[] }>(["status"]);
    t.match(sessions, [{ alive: true }]);
    const args = ["umount", user.mountPoint];
    const umount = byRoot ? await run(process.execPath, [PROGRAM, ...args]) : await user.vmmount(args);
    t.equal(umount.code, 0, umount.stderr);
    t.match(umount.stdout, /removed the snapshot/);
    t.strictSame(await lab.snapshots("web01"), []);
    t.strictSame(await user.mounts(), []);
  }
});

void t.test("a runtime directory that somebody else made first is refused", { skip }, async (t) => {
  const { user, lab } = await userWithLab(t);
  const runtime = join(user.runtimeDir, "vmmount");
  mkdirSync(runtime);
  chmodSync(runtime, 0o777);
  chownSync(runtime, 1, 1);
  const refused = await user.vmmount(["mount", "name:web01", user.mountPoint]);
  t.equal(refused.code, 79, refused.stderr);
  t.match(refused.stderr, /belongs to user 1\b/);
  t.strictSame(await lab.snapshots("web01"), []);
});

void t.test(
  "a hook that runs as root by sudo and never ends is given up, and no snapshot is made",
  { skip },
  async (t) => {
    const { user, lab } = await userWithLab(t);
    const sudo = join(user.home, "sudo");
    copyFileSync("/usr/bin/setpriv", sudo);
    chmodSync(sudo, 0o4755);
    const pidFile = join(t.testdir({}), "pid");
    const hook = `exec ${sudo} --reuid 0 sh -c 'echo $$ > ${pidFile}; exec sleep 300'`;
    const ended = await user.vmmount(["mount", "name:web01", user.mountPoint, "--before-snapshot", hook], {
      VMMOUNT_HOOKS_TIMEOUT: "1s",
    });
    process.kill(Number(readFileSync(pidFile, "utf8")), "SIGKILL");
    t.equal(ended.code, 71, ended.stderr);
    t.match(ended.stderr, /did not end in time, runs as another user, and goes on/);
    t.strictSame(await lab.snapshots("web01"), []);
    t.strictSame(await user.mounts(), []);
    t.strictSame(await user.daemons(), []);
  },
);
