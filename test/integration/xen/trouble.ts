import { randomBytes } from "node:crypto";
import { join } from "node:path";
import t, { type Test } from "tap";
import { srUsage } from "../../../src/lab/xen/computed.js";
import { MIB } from "../../../src/units.js";
import { succeed } from "../../fixtures/host/command-line.js";
import { NOTHING_LEFT, ProxyHost } from "../../fixtures/host/proxy-host.js";
import { refused } from "../../fixtures/host/refusals.js";
import { until } from "../../fixtures/host/until.js";
import { testPool } from "../../fixtures/xen/lab-pool.js";
import { countsAtRest } from "../../fixtures/xen/pool-at-rest.js";
import { withFields } from "../../fixtures/xen/with-fields.js";

/** What goes wrong with a pool while an agent reads, and before there is a snapshot: by the command, as its users meet it. */
const { lab } = await testPool(t, { profile: "8.2" });
const { database } = lab.pool;
const vm = lab.vm("web01");
const [system] = vm.disks;
await lab.pool.store.write(system?.ref ?? "", 0, randomBytes(system?.bytes ?? 0));
const sum = await lab.hashVdi(system?.ref ?? "");
const host = await ProxyHost.make(t, lab);

/** VMs, disks, attachments, tasks and sessions of the pool, and mounts, daemons and journals here, are as before. */
async function leavingNothing(t: Test, work: () => Promise<void>): Promise<void> {
  const before = await countsAtRest(lab);
  await work();
  t.same(await countsAtRest(lab), before, "the pool is as before");
  t.same(vm.snapshots, []);
  t.same(await host.leftovers(), NOTHING_LEFT);
}

/** The host that has a disk of the snapshot plugged in, for whoever reads it over NBD. */
function servingHost(): number {
  return lab.hosts.findIndex(({ controlDomain }) => database.where("VBD", "VM", controlDomain).length > 0);
}

function sentBytes(): number {
  const { files } = lab.traffic.report();
  return Object.entries(files).reduce(
    (all, [name, { bytesSent }]) => all + (name.startsWith("nbd ") ? bytesSent : 0),
    0,
  );
}

/** Mounts, begins to copy a disk of 16 MiB slowly, and does something to the pool in the middle of it. */
async function whileReading(t: Test, work: () => Promise<void>): Promise<void> {
  const mounted = await host.vmmount(["mount", "/web01", host.mountPoint]);
  t.equal(mounted.code, 0, mounted.stderr);
  lab.traffic.reset();
  const slow = lab.rules.add({ match: { method: "NBD.read" }, action: { kind: "delay", ms: 300 } });
  const copied = succeed("sha256sum", [join(host.mountPoint, "xvda.raw")]);
  await until("the agent is in the middle of the disk", () => sentBytes() > MIB);
  t.ok(sentBytes() < 12 * MIB, "most of it is still to come");
  await work();
  slow();
  t.equal((await copied).slice(0, 64), sum, "the agent's copy is the snapshot");
  t.match(await host.vmmount(["umount", host.mountPoint]), { code: 0, stdout: /removed the snapshot/ });
}

await t.test("the master moves while an agent reads", (t) =>
  leavingNothing(t, async () => {
    await whileReading(t, async () => {
      await lab.moveMaster(1);
      // A moved master takes nobody's session with it; one that died does.
      lab.expireSessions();
    });
    await lab.moveMaster(0);
  }),
);

await t.test("the host that serves the disk is lost while an agent reads: another one takes over", (t) =>
  leavingNothing(t, async () => {
    let lost = -1;
    await whileReading(t, async () => {
      lost = servingHost();
      t.not(lost, -1);
      await lab.moveMaster(1 - lost);
      await lab.stopHost(lost);
    });
    await lab.startHost(lost);
    await lab.moveMaster(0);
  }),
);

await t.test("every session ends while an agent reads", (t) =>
  leavingNothing(t, () =>
    whileReading(t, () => {
      lab.expireSessions();
      return Promise.resolve();
    }),
  ),
);

await t.test("storage that is really full when the snapshot is made", (t) =>
  leavingNothing(t, async () => {
    const sr = database.text("VDI", system?.ref ?? "", "SR");
    const used = String(srUsage(database, lab.pool.store, sr).physical_utilisation);
    await withFields(lab, ["SR", sr, { physical_size: used }], () =>
      refused(
        t,
        host,
        ["mount", "/web01", host.mountPoint],
        { exit: "snapshot", says: /"web01".*There is insufficient space/ },
        // Otherwise the mount is refused before the pool is asked.
        { env: { VMMOUNT_GUARD_FREE_SPACE_MIN: "0" } },
      ),
    );
  }),
);

await t.test("a snapshot that the pool refuses", (t) =>
  leavingNothing(t, async () => {
    await withFields(lab, ["VM", vm.ref, { blocked_operations: { snapshot: "no backups today" } }], () =>
      refused(t, host, ["mount", "/web01", host.mountPoint], { exit: "snapshot", says: /no backups today/ }),
    );
    const parameters = [vm.ref, "halted", "running"];
    const stop = lab.rules.add({
      match: { method: "VM.snapshot" },
      action: { kind: "fault", name: "VM_BAD_POWER_STATE", parameters, where: "task" },
    });
    await refused(t, host, ["mount", "/web01", host.mountPoint], { exit: "snapshot", says: /"web01".*VM_BAD_POWER/ });
    stop();
  }),
);

await t.test("another certificate than the pinned one, and one that nobody vouches for", (t) =>
  leavingNothing(t, async () => {
    lab.traffic.reset();
    for (const fingerprint of [`AA${":AA".repeat(31)}`, undefined]) {
      const { url, user, passwordPath } = lab;
      const stranger = await ProxyHost.make(t, { url, user, passwordPath, ...(fingerprint && { fingerprint }) });
      await refused(t, stranger, ["mount", "/web01", stranger.mountPoint], {
        exit: "connect",
        says: /certificate/,
      });
      t.same(await stranger.leftovers(), NOTHING_LEFT);
    }
    t.equal(lab.traffic.report().logins, 0, "the password was sent to nobody");
  }),
);
