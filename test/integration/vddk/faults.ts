import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import t, { type Test } from "tap";
import type { SessionStatus } from "../../../src/mount/control-protocol.js";
import { labFor } from "../../fixtures/host/lab-host.js";
import { NOTHING_LEFT, ProxyHost } from "../../fixtures/host/proxy-host.js";
import { sha256 } from "../../fixtures/host/tree-facts.js";
import { StandIn, type StandInRules } from "../../fixtures/vddk/stand-in.js";

const IMAGE = "scsi0-0-flat.vmdk";

interface Reading {
  readonly status: SessionStatus;
  readonly host: ProxyHost;
  readonly standIn: StandIn;
}

/** Mounts over nbdssl, breaks something, reads a whole disk and compares it with the snapshot. */
async function readThrough(
  t: Test,
  { rules = {}, during }: { rules?: StandInRules; during?: (at: Reading) => Promise<void> },
): Promise<string> {
  const lab = await labFor(t);
  const host = await ProxyHost.make(t, lab);
  const standIn = await StandIn.make(t, lab);
  const env = { ...standIn.env, VMMOUNT_VDDK_LIBDIR: standIn.libdir };
  const args = ["mount", "/dc1/web01", host.mountPoint, "--transport", "nbdssl", "--json"];
  const mounted = await host.vmmount(args, { env });
  t.equal(mounted.code, 0, mounted.stderr);
  const status = JSON.parse(mounted.stdout) as SessionStatus;
  await standIn.set(rules);
  const vm = lab.vm("web01");
  const reading = sha256(join(host.mountPoint, IMAGE));
  await during?.({ status, host, standIn });
  t.equal(await reading, await vm.hashDisk(vm.disks[0]!.key, vm.snapshots[0]!.ref), "the copy is equal");
  const log = await readFile(status.log, "utf8");
  const umount = await host.vmmount(["umount", host.mountPoint]);
  t.equal(umount.code, 0, umount.stderr);
  t.same(vm.snapshots, []);
  t.same(await host.leftovers(), NOTHING_LEFT);
  return log;
}

void t.test("a panic of the library: it is started again and the copy is whole", async (t) => {
  const log = await readThrough(t, {
    rules: { panic_read: 7 },
    during: async ({ status, standIn }) => {
      while (!/The VDDK host ended/.test(await readFile(status.log, "utf8"))) await sleep(20);
      // The next process begins to count anew.
      await standIn.set({ panic_read: undefined });
    },
  });
  t.match(log, /The VDDK host ended \(signal SIGABRT, .*starting it again/);
  t.match(log, /serves 2 disks again/);
});

void t.test("SIGKILL of the library's process in the middle of a copy", async (t) => {
  const log = await readThrough(t, {
    rules: { latency_us: 20_000 },
    during: async ({ status, host }) => {
      const [pid] = (await host.daemons()).filter((one) => one !== status.pid);
      await sleep(150);
      process.kill(pid!, "SIGKILL");
    },
  });
  t.match(log, /The VDDK host ended \(signal SIGKILL\)/);
});

void t.test("a connection that is lost is made again", async (t) => {
  const log = await readThrough(t, { rules: { fail_read: "14011@3" } });
  t.match(log, /the connection to the host was lost/);
  t.match(log, /Opened .*\[ds1\] web01\/web01\.vmdk.* again over nbdssl/);
});

void t.test("a login that has ended is made again", async (t) => {
  const log = await readThrough(t, { rules: { session_expired_after: 5 } });
  t.match(log, /Opened .* again over nbdssl/);
});

void t.test("a host without memory is asked for less at a time", async (t) => {
  const log = await readThrough(t, { rules: { fail_read: "2@2" } });
  t.match(log, /is read with 2 requests at a time from now on/);
});

void t.test(
  "a host that takes no further connection in the middle of a copy is asked again, and for less",
  async (t) => {
    let used: StandIn | undefined;
    const log = await readThrough(t, {
      // The other disk has the one connection that the host takes.
      rules: { fail_read: "14011@3", connections: 1, latency_us: 5_000 },
      during: async ({ status, standIn }) => {
        used = standIn;
        while (!/Cannot open .* again over/.test(await readFile(status.log, "utf8"))) await sleep(20);
        await standIn.set({ fail_read: undefined, connections: undefined });
      },
    });
    t.match(log, /Cannot open .* again over nbdssl: .*the host refuses the connection/);
    t.match(log, /is read with 2 requests at a time from now on/);
    t.match(log, /Opened .*\[ds1\] web01\/web01\.vmdk.* again over nbdssl/);
    const most = (await used!.events()).filter((line) => line.startsWith("most "));
    t.match(most.at(-1), /^most 3 [12]$/, "the disk that was opened again");
  },
);

void t.test("a host that takes no further connection is asked again after a while", async (t) => {
  const lab = await labFor(t);
  const host = await ProxyHost.make(t, lab);
  const standIn = await StandIn.make(t, lab);
  await standIn.set({ fail_open: "14009@2" });
  const env = { ...standIn.env, VMMOUNT_VDDK_LIBDIR: standIn.libdir };
  const args = ["mount", "/dc1/web01", host.mountPoint, "--transport", "nbdssl"];
  const mounted = await host.vmmount(args, { env });
  t.equal(mounted.code, 0, mounted.stderr);
  t.match(mounted.stderr, /the host refuses the connection.*attempt 2 in \d+ ms/);
  t.equal((await host.vmmount(["umount", host.mountPoint])).code, 0);
  t.same(await host.leftovers(), NOTHING_LEFT);
});

void t.test("a library that dies again and again fails the reads, and umount says so", async (t) => {
  const lab = await labFor(t);
  const host = await ProxyHost.make(t, lab);
  await host.vmmount(["status"]);
  const standIn = await StandIn.make(t, lab);
  const env = { ...standIn.env, VMMOUNT_VDDK_LIBDIR: standIn.libdir, VMMOUNT_READ_TIMEOUT: "6s" };
  const args = ["mount", "/dc1/web01", host.mountPoint, "--transport", "nbdssl"];
  const mounted = await host.vmmount(args, { env });
  t.equal(mounted.code, 0, mounted.stderr);
  await standIn.set({ panic_read: 1 });
  await t.rejects(sha256(join(host.mountPoint, IMAGE)), "EIO, and no zeros");
  const umount = await host.vmmount(["umount", host.mountPoint]);
  t.equal(umount.code, 74, umount.stderr);
  t.same(lab.vm("web01").snapshots, []);
  t.same(await host.leftovers(), NOTHING_LEFT);
});
