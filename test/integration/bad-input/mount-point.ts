import { chmod, mkdir, readdir, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import t from "tap";
import type { SessionStatus } from "../../../src/mount/control-protocol.js";
import { NODE_ARGUMENTS, PROGRAM, run } from "../../fixtures/host/command-line.js";
import { addMachine } from "../../fixtures/host/lab-machine.js";
import { labDirectory, labIn } from "../../fixtures/host/lab-host.js";
import { ProxyHost } from "../../fixtures/host/proxy-host.js";
import { checkRefusal, nothingLeft, refused, refusedJson } from "../../fixtures/host/refusals.js";

/** What can be wrong with the mount point and with this machine. */
const directory = await labDirectory(t);
await addMachine(directory, { folder: "tiny" });
await addMachine(directory, { folder: "small" });
const lab = await labIn(t, directory);

void t.test("a directory that cannot be mounted on is refused before the server is asked", async (t) => {
  const host = await ProxyHost.make(t, lab);
  const made = (name: string): string => join(host.directory, name);
  await writeFile(made("file"), "");
  await mkdir(made("full"));
  await writeFile(made("full/file"), "");
  lab.traffic.reset();
  await refused(t, host, ["mount", "name:tiny", made("missing")], {
    exit: "not-found",
    says: [/no such directory/, /mkdir -p/],
  });
  await refused(t, host, ["mount", "name:tiny", made("file")], { exit: "refused", says: /it is not a directory/ });
  await refused(t, host, ["mount", "name:tiny", made("full")], { exit: "refused", says: /not empty/ });
  await refusedJson(t, host, ["mount", "name:tiny", made("file/below")], { exit: "refused", says: /Cannot mount on/ });
  t.same(await readdir(made("full")), ["file"]);
  t.same(lab.traffic.report().methods, {});
  await nothingLeft(t, host, lab);
});

void t.test("somebody else's mount", async (t) => {
  const host = await ProxyHost.make(t, lab);
  t.equal((await run("mount", ["-t", "tmpfs", "theirs", host.mountPoint])).code, 0);
  lab.traffic.reset();
  await refused(t, host, ["mount", "name:tiny", host.mountPoint], {
    exit: "busy",
    says: [/"theirs" \(tmpfs\)/, /another directory/],
  });
  await refused(t, host, ["umount", host.mountPoint], { exit: "refused", says: /not a mount of vmmount/ });
  t.same(await host.mounts(), [host.mountPoint], "it is left alone");
  t.same(lab.traffic.report().methods, {});
  await run("umount", [host.mountPoint]);
  await nothingLeft(t, host, lab);
});

void t.test("a mount of ours", async (t) => {
  const host = await ProxyHost.make(t, lab);
  const { session } = await host.json<SessionStatus>(["mount", "name:tiny", host.mountPoint]);
  const says = [new RegExp(`vmmount session ${session}`), /vmmount umount/];
  await refused(t, host, ["mount", "name:small", host.mountPoint], { exit: "busy", says });
  t.equal(lab.vm("small").snapshots.length, 0);
  t.equal((await run("cat", [join(host.mountPoint, "catalog.json")])).code, 0, "the first mount goes on");
  t.equal((await host.vmmount(["umount", host.mountPoint])).code, 0);
  await nothingLeft(t, host, lab);
});

void t.test("a machine without /dev/fuse", async (t) => {
  const host = await ProxyHost.make(t, lab);
  lab.traffic.reset();
  // A device directory as a container has it, in a mount namespace of its own.
  const script = [
    "set -e",
    "mount -t tmpfs dev /dev",
    ...[`null 3`, `zero 5`, `random 8`, `urandom 9`].map((device) => {
      const [name = "", minor = ""] = device.split(" ");
      return `mknod -m 666 /dev/${name} c 1 ${minor}`;
    }),
    'exec "$@"',
  ].join("\n");
  const mount = [process.execPath, ...NODE_ARGUMENTS, PROGRAM, "mount", "name:tiny", host.mountPoint];
  const ended = await run("unshare", ["-m", "sh", "-c", script, "sh", ...mount], {
    env: { VMMOUNT_CONFIG: host.configPath },
  });
  checkRefusal(t, ended, { exit: "unavailable", says: [/\/dev\/fuse/, /modprobe fuse/, /container/] });
  t.same(lab.traffic.report().methods, {}, "no snapshot was made for nothing");
  await nothingLeft(t, host, lab);
});

void t.test("an account that is not root", async (t) => {
  const host = await ProxyHost.make(t, lab);
  const nobody = 65534;
  const asNobody = (): ReturnType<typeof run> => {
    const drop = [`--reuid=${nobody}`, `--regid=${nobody}`, "--clear-groups"];
    // Without what counts coverage: it writes beside this test.
    const mount = ["env", "-u", "NODE_OPTIONS", process.execPath, PROGRAM, "mount", "name:tiny", host.mountPoint];
    return run("setpriv", [...drop, ...mount], { env: { VMMOUNT_CONFIG: host.configPath }, cwd: "/" });
  };
  lab.traffic.reset();
  await chmod(host.directory, 0o755);
  checkRefusal(t, await asNobody(), { exit: "config", says: [/config\.toml/, /permission denied/] });
  await chmod(host.configPath, 0o644);
  const { mode } = await stat("/dev/fuse");
  // Distributions differ: the device is everybody's, and then the directory must be his own, or root's.
  const device = (mode & 0o006) === 0o006;
  const says = device ? /only on a directory of his own/ : /chmod 666 \/dev\/fuse|Run as root/;
  checkRefusal(t, await asNobody(), { exit: device ? "refused" : "unavailable", says });
  t.same(lab.traffic.report().methods, {}, "the server was not asked");
  await nothingLeft(t, host, lab);
});
