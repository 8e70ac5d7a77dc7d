import { readdir, readFile, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import t from "tap";
import type { SessionStatus } from "../../../src/mount/control-protocol.js";
import type { PoolCatalog } from "../../../src/pool-catalog.js";
import { run } from "../../fixtures/host/command-line.js";
import { NOTHING_LEFT, ProxyHost } from "../../fixtures/host/proxy-host.js";
import { filesBelow, sha256 } from "../../fixtures/host/tree-facts.js";
import { testPool } from "../../fixtures/xen/lab-pool.js";
import { withFields } from "../../fixtures/xen/with-fields.js";

const pool = await testPool(t);
const host = await ProxyHost.make(t, pool.lab);
const before = pool.lab.counts();

async function catalogIn(folder: string): Promise<PoolCatalog> {
  return JSON.parse(await readFile(join(folder, "catalog.json"), "utf8")) as PoolCatalog;
}

void t.test("the pool's database and the records of its VMs are files of a mount", async (t) => {
  const status = await host.json<SessionStatus>(["mount", "lab:/meta-data", host.mountPoint]);
  t.match(status, { vm: { path: "/meta-data" }, snapshot: { ref: null }, disks: [], server: { name: "lab" } });
  const vms = pool.lab.vms.map(({ uuid }) => `vm-metadata/${uuid}.vmmeta`).sort();
  const files = await filesBelow(host.mountPoint);
  t.same(files.map(({ path }) => path).sort(), ["catalog.json", "pool-database.xml", ...vms]);
  const catalog = await catalogIn(host.mountPoint);
  for (const { file, bytes, sha256: sum } of catalog.files) {
    const { size, mode } = await stat(join(host.mountPoint, file));
    t.match({ size, mode: mode & 0o777 }, { size: bytes, mode: 0o400 }, file);
    t.equal(await sha256(join(host.mountPoint, file)), sum);
  }
  const database = await readFile(join(host.mountPoint, "pool-database.xml"), "utf8");
  for (const vm of pool.lab.vms) t.ok(database.includes(vm.uuid), `the database knows ${vm.name}`);
  for (const path of vms) {
    const listed = await run("tar", ["-tf", join(host.mountPoint, path)]);
    t.same({ code: listed.code, names: listed.stdout.trim() }, { code: 0, names: "ova.xml" });
  }
  t.match((await host.vmmount(["status"])).stdout, /\/meta-data/);
  t.same(pool.lab.counts(), before, "nothing is left in the pool while the files are read: no task, no session");
  const umount = await host.vmmount(["umount", host.mountPoint]);
  t.match(umount, { code: 0, stdout: /deleted here/ });
  t.same(await host.leftovers(), NOTHING_LEFT);
  t.same(await readdir(join(host.directory, "cache")), []);
});

void t.test("host backups are exported whole, or not at all", async (t) => {
  const folder = join(host.directory, "hosts");
  const catalog = await host.json<PoolCatalog>(["export", "lab:/host-backup", folder]);
  t.equal(catalog.files.length, pool.lab.hosts.length);
  for (const { file, sha256: sum } of catalog.files) {
    t.equal(await sha256(join(folder, file)), sum);
    t.equal((await stat(join(folder, file))).mode & 0o777, 0o400);
    t.match(await run("tar", ["-tzf", join(folder, file)]), { code: 0 });
  }
  t.same(await catalogIn(folder), catalog);
  t.equal((await stat(folder)).mode & 0o777, 0o700);
  const again = await host.vmmount(["export", "lab:/host-backup", folder]);
  t.match(again, { code: 79, stderr: /not empty/ });

  const [, second] = pool.lab.hosts;
  const one = await host.json<PoolCatalog>([
    "export",
    `lab:/host-backup/${second?.uuid ?? ""}`,
    join(host.directory, "one"),
  ]);
  t.equal(one.files.length, 1);
  t.ok(one.files[0]?.about.includes(second?.uuid ?? "?"));
  t.match(await host.vmmount(["export", "lab:/host-backup/nobody", join(host.directory, "none")]), {
    code: 66,
    stderr: /none of that name.*It has "/s,
  });
  t.same(pool.lab.counts(), before);
});

void t.test("host backups are mounted, and the pool's database exported", async (t) => {
  const [first, second] = pool.lab.hosts;
  for (const [source, uuids] of [
    ["lab:/host-backup", [first?.uuid, second?.uuid]],
    [`lab:/host-backup/${second?.uuid ?? ""}`, [second?.uuid]],
  ] as const) {
    const status = await host.json<SessionStatus>(["mount", source, host.mountPoint]);
    t.match(status, { snapshot: { ref: null }, disks: [] });
    const { files } = await catalogIn(host.mountPoint);
    t.same(files.map(({ about }) => uuids.findIndex((uuid) => about.includes(uuid ?? "?"))).sort(), [...uuids.keys()]);
    for (const { file, sha256: sum } of files) {
      t.equal(await sha256(join(host.mountPoint, file)), sum, file);
      t.match(await run("tar", ["-tzf", join(host.mountPoint, file)]), { code: 0 });
    }
    t.match(await host.vmmount(["umount", host.mountPoint]), { code: 0 });
    t.same(await host.leftovers(), NOTHING_LEFT);
  }

  const folder = join(host.directory, "meta");
  const catalog = await host.json<PoolCatalog>(["export", "lab:/meta-data", folder]);
  const vms = pool.lab.vms.map(({ uuid }) => `vm-metadata/${uuid}.vmmeta`).sort();
  t.same(catalog.files.map(({ file }) => file).sort(), ["pool-database.xml", ...vms]);
  for (const { file, sha256: sum } of catalog.files) {
    t.equal(await sha256(join(folder, file)), sum, file);
    t.equal((await stat(join(folder, file))).mode & 0o777, 0o400);
  }
  t.same(pool.lab.counts(), before);
});

void t.test(
  "a VM that is in the middle of something is asked again; a pool that is being upgraded has no dump",
  async (t) => {
    const { lab } = pool;
    const busy = ["VM", lab.vm("web01").ref, "snapshot", "OpaqueRef:NULL"];
    const stop = lab.rules.add({
      match: { path: "/export_metadata" },
      count: 1,
      action: { kind: "fault", name: "OTHER_OPERATION_IN_PROGRESS", parameters: busy },
    });
    const asked = await host.vmmount(["export", "lab:/meta-data", join(host.directory, "busy"), "--json"]);
    t.equal(stop(), 1);
    t.match(asked, { code: 0, stderr: /is in the middle of something, asking for its records again soon/ });
    t.equal((JSON.parse(asked.stdout) as PoolCatalog).files.length, lab.vms.length + 1, "none is missing");

    await withFields(
      lab,
      ["pool", lab.pool.poolRef, { other_config: { rolling_upgrade_in_progress: "true" } }],
      async () => {
        const folder = join(host.directory, "upgrade");
        const refused = await host.vmmount(["export", "lab:/meta-data", folder]);
        t.match(refused, { code: 65, stderr: /it holds nothing \(\d+ bytes\).*while it is being upgraded/s });
        t.equal(await stat(folder).catch(() => undefined), undefined, "nothing is kept of it");
      },
    );
    t.same(lab.counts(), before);
  },
);

void t.test("what the server ends in the middle leaves nothing behind", async (t) => {
  const folder = join(host.directory, "broken");
  const stop = pool.lab.rules.add({ match: { path: "/pool/xmldbdump" }, action: { kind: "cut", afterBytes: 1000 } });
  t.teardown(stop);
  const failed = await host.vmmount(["export", "lab:/meta-data", folder]);
  t.not(failed.code, 0, failed.stdout);
  t.same(
    (await readdir(host.directory)).filter((name) => name.includes("broken")),
    [],
  );
  const mount = await host.vmmount(["mount", "lab:/meta-data", host.mountPoint]);
  t.not(mount.code, 0, mount.stdout);
  t.same(await host.leftovers(), NOTHING_LEFT);
  t.same(pool.lab.counts(), before);
});

void t.test("mistakes are told before a server is asked", async (t) => {
  const asked = pool.lab.traffic.report();
  const { mountPoint } = host;
  t.match(await host.vmmount(["mount", "lab:/meta-data/x", mountPoint]), { code: 64, stderr: /\/host-backup\/HOST/ });
  t.match(await host.vmmount(["export", "lab:/web01", join(host.directory, "x")]), {
    code: 64,
    stderr: /copied from a mount/,
  });
  await writeFile(join(host.directory, "file"), "");
  t.match(await host.vmmount(["export", "lab:/meta-data", join(host.directory, "file")]), { code: 79 });
  t.same(pool.lab.traffic.report(), asked);
});
