import { randomBytes } from "node:crypto";
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import t from "tap";
import type { SessionStatus } from "../../../src/mount/control-protocol.js";
import { MIB } from "../../../src/units.js";
import { succeed } from "../../fixtures/host/command-line.js";
import { NOTHING_LEFT, ProxyHost } from "../../fixtures/host/proxy-host.js";
import { sha256 } from "../../fixtures/host/tree-facts.js";
import { testPool } from "../../fixtures/xen/lab-pool.js";
import { countsAtRest } from "../../fixtures/xen/pool-at-rest.js";

/** A pool without NBD: every disk is fetched before the mount is ready. */
const { lab } = await testPool(t, { profile: "7.1" });
const host = await ProxyHost.make(t, lab);
const vm = lab.vm("web01");
// Without a hole, so that each takes its whole size here: 16 MiB and 8 MiB.
for (const { ref, bytes } of vm.disks) await lab.pool.store.write(ref, 0, randomBytes(bytes));
const sums = await Promise.all(vm.disks.map(({ uuid }) => lab.hashVdi(uuid)));
const fetched = (): number => lab.traffic.report().files["/export_raw_vdi"]?.bytesSent ?? 0;

void t.test("progress is told while disks are fetched; then the kernel reads the copies by itself", async (t) => {
  const before = await countsAtRest(lab);
  const mounted = await host.vmmount(["mount", "/web01", host.mountPoint], {
    env: { VMMOUNT_LOG_LEVEL: "4" },
  });
  t.equal(mounted.code, 0, mounted.stderr);
  for (const disk of ["xvda", "xvdb"]) t.match(mounted.stderr, new RegExp(`Copying .*\\(${disk}\\).*: \\d+ %`));
  const whole = fetched();
  const shown = await Promise.all(["xvda.raw", "xvdb.raw"].map((name) => sha256(join(host.mountPoint, name))));
  t.same(shown, sums);
  const { sessions } = await host.json<{ sessions: SessionStatus[] }>(["status"]);
  const [status] = sessions;
  t.match(status?.disks, [{ transport: "http" }, { transport: "http" }]);
  if (status?.driver.includes("passthrough")) t.equal(status.traffic.passthroughFiles, 2);
  else t.comment("this kernel has no passthrough of local files (Linux 6.9): vmmount reads the copies itself");
  t.equal(fetched(), whole, "nothing is fetched twice");
  t.match(await host.vmmount(["umount", host.mountPoint]), { code: 0 });
  t.same(await countsAtRest(lab), before);
});

const skip = process.geteuid?.() === 0 ? false : "only root mounts a small disk";

void t.test("room for one disk and not for all of them is told before the first is fetched", { skip }, async (t) => {
  const cache = join(host.directory, "cache");
  await mkdir(cache, { recursive: true });
  // 64 MiB of it are left to others (spool-file.ts): 20 MiB are more than the larger disk and less than both.
  await succeed("mount", ["-t", "tmpfs", "-o", `size=${(64 + 20) * MIB}`, "vmmount-test", cache]);
  t.teardown(() => succeed("umount", ["-l", cache]));
  const before = await countsAtRest(lab);
  lab.traffic.reset();
  const refused = await host.vmmount(["mount", "/web01", host.mountPoint]);
  const told = /the 2 disks of the VM together need up to \d+ bytes, and there is room for 2\d{7}.*cache\.dir/s;
  t.match(refused, { code: 80, stderr: told });
  t.equal(lab.traffic.report().files["/export_raw_vdi"]?.requests, 2, "the tables of their blocks, and no disk");
  t.same(vm.snapshots, []);
  t.same(await countsAtRest(lab), before);
  t.same(await host.leftovers(), { ...NOTHING_LEFT, mounts: [cache] });

  await succeed("mount", ["-o", `remount,size=${(64 + 28) * MIB}`, cache]);
  const status = await host.json<SessionStatus>(["mount", "/web01", host.mountPoint]);
  t.match(status.disks, [{ transport: "http" }, { transport: "http" }]);
  t.match(await host.vmmount(["umount", host.mountPoint]), { code: 0 });
  t.same(await countsAtRest(lab), before);
});
