import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import t, { type Test } from "tap";
import type { Catalog } from "../../../src/catalog.js";
import type { SessionStatus } from "../../../src/mount/control-protocol.js";
import { NOTHING_LEFT, ProxyHost } from "../../fixtures/host/proxy-host.js";
import { testPool } from "../../fixtures/xen/lab-pool.js";
import { PoolClient } from "../../fixtures/xen/pool-client.js";
import { withFields } from "../../fixtures/xen/with-fields.js";

/** What an account may, and what is seen before a snapshot is made: through the commands, as their users meet it. */
const USERS = new Map([
  ["reader", { password: "reads", role: "read-only" as const }],
  ["backup", { password: "backs up", role: "vm-power-admin" as const }],
]);
const { lab } = await testPool(t, { profile: "8.3", users: USERS });
const host = await ProxyHost.make(t, lab);
const { database } = lab.pool;
const vm = lab.vm("web01");
const [, data] = vm.disks;

/** Counted outside of the session that the test itself has. */
async function leavingNothing(t: Test, work: () => Promise<void>): Promise<void> {
  const before = lab.counts();
  await work();
  t.same(lab.counts(), before, "the pool is as before");
  t.same(await host.leftovers(), NOTHING_LEFT);
}

async function proxyOf(t: Test, user: string): Promise<ProxyHost> {
  const passwordPath = join(host.directory, `${user}.password`);
  await writeFile(passwordPath, USERS.get(user)?.password ?? "", { mode: 0o600 });
  return ProxyHost.make(t, { url: lab.url, user, passwordPath, fingerprint: lab.fingerprint });
}

void t.test(
  "docs/XEN.md's roles are enough, and those below them are refused by the name of the permission",
  async (t) => {
    const reader = await proxyOf(t, "reader");
    const backup = await proxyOf(t, "backup");
    await leavingNothing(t, async () => {
      for (const args of [["ls"], ["ls", "/web01"], ["find", "name:web01"], ["snapshot", "list", "/web01"]]) {
        t.match(await reader.vmmount(args), { code: 0 }, `read-only: ${args.join(" ")}`);
      }
      const refused = await reader.vmmount(["mount", "/web01", reader.mountPoint]);
      t.match(refused, { code: 77, stderr: /lacks the permission.*vm\.snapshot/is });
      t.same(await reader.leftovers(), NOTHING_LEFT);

      const status = await backup.json<SessionStatus>(["mount", "/web01", backup.mountPoint]);
      t.match(status.disks, [{ transport: "nbd" }, { transport: "nbd" }]);
      t.match(await backup.vmmount(["umount", backup.mountPoint]), { code: 0 });
      const dump = await backup.vmmount(["export", "lab:/meta-data", join(backup.directory, "dump")]);
      t.equal(dump.code, 77, dump.stderr);
    });
  },
);

void t.test("storage that sets whole disks aside and is too full is seen before", async (t) => {
  const sr = database.text("VDI", data?.ref ?? "", "SR");
  await leavingNothing(t, () =>
    withFields(lab, ["SR", sr, { type: "lvm", physical_size: "1048576" }], async () => {
      t.match(await host.vmmount(["ls", "/web01"]), {
        code: 0,
        stdout: /A snapshot will fail: .*sets whole disks aside/,
      });
      const refused = await host.vmmount(["mount", "/web01", host.mountPoint]);
      t.match(refused, { code: 71, stderr: /sets whole disks aside and has \d+ bytes free/ });
      t.same(vm.snapshots, []);
    }),
  );
});

void t.test("a chain of images that is too long is seen before", async (t) => {
  const endless = { "vhd-parent": data?.uuid ?? "" };
  await leavingNothing(t, () =>
    withFields(lab, ["VDI", data?.ref ?? "", { sm_config: endless }], async () => {
      const refused = await host.vmmount(["mount", "/web01", host.mountPoint]);
      t.match(refused, { code: 71, stderr: /chain of 30 images/ });
      t.same(vm.snapshots, []);
    }),
  );
});

void t.test(
  "a disk that has no snapshots is left out and told of; a release that cannot leave it out refuses",
  async (t) => {
    await leavingNothing(t, () =>
      withFields(lab, ["VDI", data?.ref ?? "", { sharable: true }], async () => {
        const mounted = await host.vmmount(["mount", "/web01", host.mountPoint]);
        t.match(mounted, { code: 0, stderr: /xvdb\).* is NOT in this backup: it is shared\b/, stdout: /NOT INCLUDED/ });
        const catalog = JSON.parse(await readFile(join(host.mountPoint, "catalog.json"), "utf8")) as Catalog;
        t.match(catalog.disks, [
          { included: true, file: "xvda.raw" },
          { included: false, reason: /shared\b/ },
        ]);
        t.match(await host.vmmount(["umount", host.mountPoint]), { code: 0 });
      }),
    );
    const old = await testPool(t, { profile: "8.2" });
    const proxy = await ProxyHost.make(t, old.lab);
    old.lab.pool.database.update("VDI", old.lab.vm("web01").disks[1]?.ref ?? "", { sharable: true });
    t.match(await proxy.vmmount(["mount", "/web01", proxy.mountPoint]), { code: 71, stderr: /cannot be left out/ });
  },
);

void t.test("--memory and --offline: the guest runs afterwards, and the catalog says what was done", async (t) => {
  for (const [flag, consistency] of [
    ["--memory", "crash"],
    ["--offline", "offline"],
  ] as const) {
    await leavingNothing(t, async () => {
      const status = await host.json<SessionStatus>(["mount", "/web01", host.mountPoint, flag]);
      t.equal(status.snapshot.consistency, consistency, flag);
      t.equal(vm.power, "Running");
      t.match(await host.vmmount(["umount", host.mountPoint]), { code: 0 });
    });
  }
  t.match(await host.vmmount(["mount", "/web01", host.mountPoint, "--memory", "--offline"]), { code: 64 });
});

void t.test("what a dead transfer left plugged into dom0 does not keep the snapshot", async (t) => {
  const client = await PoolClient.login(lab);
  await leavingNothing(t, async () => {
    await host.json<SessionStatus>(["mount", "/web01", host.mountPoint]);
    const [frozen] = database.where("VDI", "snapshot_of", data?.ref ?? "");
    const [[dom0] = []] = database.rows("VM").filter(([, row]) => row["is_control_domain"] === true);
    const vbd = (await client.call("VBD.create", {
      VM: dom0,
      VDI: frozen,
      userdevice: "autodetect",
      bootable: false,
      mode: "RO",
      type: "Disk",
      unpluggable: true,
      empty: false,
      other_config: {},
      qos_algorithm_type: "",
      qos_algorithm_params: {},
    })) as string;
    await client.call("VBD.plug", vbd);
    t.match(await host.vmmount(["umount", host.mountPoint]), { code: 0, stdout: /removed the snapshot/ });
    t.notOk(database.has("VBD", vbd));
  });
  await client.call("session.logout");
});
