import { spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import t, { type Test } from "tap";
import type { SessionStatus } from "../../../src/mount/control-protocol.js";
import { run } from "../../fixtures/host/command-line.js";
import { labFor } from "../../fixtures/host/lab-host.js";
import { NOTHING_LEFT, ProxyHost } from "../../fixtures/host/proxy-host.js";

/** Longer than the lab needs to remove a snapshot. */
const UMOUNT_MS = 3_000;

/**
 * After a backup of large disks the kernel frees gigabytes of its cache inside umount2(2), when it has let go of the
 * device already; the daemon may then be done before that call returns. strace makes it take that long.
 */
async function slowUmount(t: Test, pid: number): Promise<void> {
  const inject = `inject=umount2:delay_exit=${UMOUNT_MS * 1000}`;
  const tracer = spawn("strace", ["-f", "-p", String(pid), "-e", "trace=umount2", "-e", inject], {
    stdio: ["ignore", "ignore", "pipe"],
  });
  const ended = once(tracer, "close");
  t.teardown(async () => {
    tracer.kill();
    await ended;
  });
  await once(tracer.stderr, "data");
  tracer.stderr.resume();
}

async function mounted(t: Test) {
  const lab = await labFor(t);
  const host = await ProxyHost.make(t, lab, "[read]\nretries = 0\n");
  const { pid } = await host.json<SessionStatus>(["mount", "name:web01", host.mountPoint]);
  await slowUmount(t, pid);
  return { lab, host };
}

void t.test("umount tells the outcome although the kernel takes its time", async (t) => {
  const { lab, host } = await mounted(t);
  const umount = await host.vmmount(["umount", host.mountPoint]);
  t.equal(umount.code, 0, umount.stderr);
  t.match(umount.stdout, /removed the snapshot/);
  t.same(lab.vm("web01").snapshots, []);
  t.same(await host.leftovers(), NOTHING_LEFT);
});

void t.test("nor does umount forget that a read had failed", async (t) => {
  const { lab, host } = await mounted(t);
  lab.rules.add({ match: { method: "GET", path: "/folder/" }, action: { kind: "status", status: 500 } });
  const read = await run("dd", [`if=${join(host.mountPoint, "scsi0-0-flat.vmdk")}`, "of=/dev/null", "bs=1M"]);
  t.match(read.stderr, /Input\/output error/);
  const umount = await host.vmmount(["umount", host.mountPoint]);
  t.equal(umount.code, 74, "the backup is not complete");
  t.match(umount.stderr, /not complete/);
  t.same(lab.vm("web01").snapshots, []);
  t.same(await host.leftovers(), NOTHING_LEFT);
});
