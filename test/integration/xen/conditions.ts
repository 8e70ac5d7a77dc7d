import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import t, { type Test } from "tap";
import type { Catalog } from "../../../src/catalog.js";
import type { SessionStatus } from "../../../src/mount/control-protocol.js";
import { run, succeed } from "../../fixtures/host/command-line.js";
import { NOTHING_LEFT, ProxyHost } from "../../fixtures/host/proxy-host.js";
import { testPool } from "../../fixtures/xen/lab-pool.js";
import { PoolClient } from "../../fixtures/xen/pool-client.js";
import { withFields } from "../../fixtures/xen/with-fields.js";

/** What an account may, and what is seen before a snapshot is made: through the commands, as their users meet it. */
const USERS = new Map([
  ["reader", { password: "reads", role: "read-only" as const }],
  ["importer", { password: "restores", role: "vm-admin" as const }],
  ["backup", { password: "backs up", role: "vm-power-admin" as const }],
  ["operator", { password: "may all", role: "pool-admin" as const }],
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
      for (const flag of ["--memory", "--offline"]) {
        await backup.json<SessionStatus>(["mount", "/web01", backup.mountPoint, flag]);
        t.match(await backup.vmmount(["umount", backup.mountPoint]), { code: 0 }, `vm-power-admin: ${flag}`);
      }
      const dump = await backup.vmmount(["export", "lab:/meta-data", join(backup.directory, "dump")]);
      t.equal(dump.code, 77, dump.stderr);
      const operator = await proxyOf(t, "operator");
      const whole = await operator.vmmount(["export", "lab:/meta-data", join(operator.directory, "dump")]);
      t.equal(whole.code, 0, whole.stderr);
    });
  },
);

void t.test("vm-admin restores, and removes what a mount has left; read-only does neither", async (t) => {
  const [reader, importer] = [await proxyOf(t, "reader"), await proxyOf(t, "importer")];
  const copy = join(host.directory, "copy");
  await host.json<SessionStatus>(["mount", "/cold01", host.mountPoint]);
  await succeed("cp", ["-a", host.mountPoint, copy]);
  t.match(await host.vmmount(["umount", host.mountPoint]), { code: 0 });
  await leavingNothing(t, async () => {
    const refused = await reader.vmmount(["restore", copy, "--name", "cold02"]);
    t.match(refused, { code: 77, stderr: /permission/ });
    const restored = await importer.vmmount(["restore", copy, "--name", "cold02"]);
    t.equal(restored.code, 0, restored.stderr);
    const client = await PoolClient.login(lab);
    const { ref, disks } = lab.vm("cold02");
    await client.call("VM.destroy", ref);
    for (const disk of disks) await client.call("VDI.destroy", disk.ref);
    await client.call("session.logout");

    await host.json<SessionStatus>(["mount", "/web01", host.mountPoint]);
    for (const pid of await host.daemons()) process.kill(pid, "SIGKILL");
    await run("umount", ["-l", host.mountPoint]);
    lab.expireSessions();
    t.equal(vm.snapshots.length, 1);
    const looked = await reader.vmmount(["gc", "--dry-run"]);
    t.match(looked, { code: 76, stdout: /web01/ }, "read-only: what gc would do");
    const swept = await importer.vmmount(["gc", "--yes"]);
    t.equal(swept.code, 0, `${swept.stdout}${swept.stderr}`);
    t.same(vm.snapshots, []);
    t.match(await host.vmmount(["gc", "--yes"]), { code: 0 }, "the journal of the dead mount goes as well");
  });
});

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
    const unknown = { match: { method: "VM.snapshot" }, count: 1 } as const;
    const parameters = ["VM.snapshot", "2", "3"];
    await leavingNothing(t, () =>
      withFields(lab, ["VDI", data?.ref ?? "", { sharable: true }], async () => {
        lab.rules.add({ ...unknown, action: { kind: "fault", name: "MESSAGE_PARAMETER_COUNT_MISMATCH", parameters } });
        lab.traffic.reset();
        const refused = await host.vmmount(["mount", "/web01", host.mountPoint]);
        const says = /warning: The pool leaves no disks out.*VDI_IS_SHARABLE/s;
        t.match(refused, { code: 71, stderr: says }, "a parameter that the pool does not know is left away");
        t.equal(lab.traffic.report().methods["VM.snapshot"], 2);
      }),
    );
    const old = await testPool(t, { profile: "8.2" });
    const proxy = await ProxyHost.make(t, old.lab);
    old.lab.pool.database.update("VDI", old.lab.vm("web01").disks[1]?.ref ?? "", { sharable: true });
    t.match(await proxy.vmmount(["mount", "/web01", proxy.mountPoint]), { code: 71, stderr: /cannot be left out/ });
  },
);

void t.test("--memory and --offline: the guest runs afterwards, and the catalog says what was done", async (t) => {
  for (const [flag, consistency, called] of [
    ["--memory", "crash", { "VM.checkpoint": 1, "VM.clean_shutdown": 0, "VM.snapshot": 0 }],
    ["--offline", "offline", { "VM.checkpoint": 0, "VM.clean_shutdown": 1, "VM.snapshot": 1 }],
  ] as const) {
    await leavingNothing(t, async () => {
      lab.traffic.reset();
      const status = await host.json<SessionStatus>(["mount", "/web01", host.mountPoint, flag]);
      t.equal(status.snapshot.consistency, consistency, flag);
      const catalog = JSON.parse(await readFile(join(host.mountPoint, "catalog.json"), "utf8")) as Catalog;
      t.equal(catalog.snapshot.consistency, consistency);
      const { methods } = lab.traffic.report();
      t.same(Object.fromEntries(Object.keys(called).map((name) => [name, methods[name] ?? 0])), called);
      const [frozen = ""] = vm.snapshots;
      const memory = database.text("VM", frozen, "suspend_VDI");
      t.equal(database.text("VM", frozen, "power_state"), flag === "--memory" ? "Suspended" : "Halted");
      t.equal(database.has("VDI", memory), flag === "--memory", "the guest's memory is a disk of the snapshot");
      t.equal(vm.power, "Running");
      t.match(await host.vmmount(["umount", host.mountPoint]), { code: 0 });
      t.notOk(database.has("VDI", memory), "and goes with it");
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
