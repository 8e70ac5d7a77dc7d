import { writeFile } from "node:fs/promises";
import { hostname } from "node:os";
import { join } from "node:path";
import t from "tap";
import type { Hypervisor } from "../../../src/hypervisor.js";
import { silentLogger } from "../../../src/log.js";
import { describeOwnership, snapshotName } from "../../../src/snapshot/ownership.js";
import { connectXen } from "../../../src/xen/connect.js";
import { NEEDED_PERMISSIONS } from "../../../src/xen/permissions.js";
import { command } from "../../fixtures/cli/command.js";
import { healthContract } from "../../fixtures/contract/health.js";
import { scratch } from "../../fixtures/scratch.js";
import { testPool } from "../../fixtures/xen/lab-pool.js";

/** `vmmount check` against the lab's pool: roles, ports, storage, chains and what was left, each by its name. */
const { signal } = new AbortController();
const USERS = new Map([
  ["reader", { password: "reads", role: "read-only" as const }],
  ["admin", { password: "may nearly all", role: "vm-admin" as const }],
  ["backup", { password: "backs up", role: "vm-power-admin" as const }],
  ["operator", { password: "may all", role: "pool-admin" as const }],
]);
const { lab } = await testPool(t, { profile: "8.3", users: USERS });
const { database } = lab.pool;
const vm = lab.vm("web01");

const home = scratch(t);
const toml = [...USERS, ["root", { password: lab.password }] as const, ["wrong", { password: "no" }] as const].map(
  ([user, { password }]) =>
    `[server.${user}]\nurl = "${lab.url}"\nuser = "${user === "wrong" ? "backup" : user}"\npassword = "${password}"\nfingerprint = "${lab.fingerprint}"\n`,
);
await writeFile(join(home, "config.toml"), toml.join("\n"), { mode: 0o600 });
const env = {
  VMMOUNT_CONFIG: join(home, "config.toml"),
  VMMOUNT_STATE_DIR: join(home, "state"),
  VMMOUNT_RUNTIME_DIR: join(home, "run"),
  VMMOUNT_CACHE_DIR: join(home, "cache"),
};

/** Nothing of the pool changes, and every session is logged out. */
async function check(...words: string[]) {
  const before = lab.counts();
  const { code, out, error } = await command(["check", ...words, "--json"], { env });
  t.same(lab.counts(), before, "the pool is as before");
  const { checks } = JSON.parse(out) as { checks: { id: string; state: string; text: string; exit?: string }[] };
  return { code, error, of: (id: string) => checks.filter((one) => one.id === id) };
}

function connect(user = lab.user, password = lab.password): Promise<Hypervisor> {
  const { url, fingerprint } = lab;
  return connectXen({ url, user, password, tls: { fingerprint, insecure: false }, logger: silentLogger(), signal });
}

void t.test("roles: what a backup needs is named, what others need is told of", async (t) => {
  const reader = await check("reader");
  t.equal(reader.code, 77);
  t.match(reader.of("privilege.vm.snapshot@pool"), [{ state: "fail", text: /vm\.snapshot is missing on the pool/ }]);
  const admin = await check("admin", "/web01");
  t.match(admin, { code: 77, error: { message: /vm\.snapshot/, hint: /vm-power-admin/ } });
  t.match(admin.of("privilege.http/get_export_raw_vdi@pool"), [{ state: "ok" }]);
  const backup = await check("backup", "/web01");
  t.equal(backup.code, 0, backup.error?.message ?? "");
  for (const { name, need } of NEEDED_PERMISSIONS) {
    const isPools = ["http/get_pool_xml_db_sync", "http/get_host_backup"].includes(name);
    t.match(backup.of(`privilege.${name}@pool`), [{ state: isPools ? "skip" : "ok" }], `${name}, ${need}`);
  }
  const operator = await check("operator");
  for (const { name } of NEEDED_PERMISSIONS) t.match(operator.of(`privilege.${name}@pool`), [{ state: "ok" }], name);
});

void t.test("all is well: hosts, NBD, storage, clock, disks", async (t) => {
  const { code, of, error } = await check("root", "/web01");
  t.equal(code, 0, error?.message ?? "");
  for (const id of ["server.certificate", "server.login", "vm.found", "transport.nbd", "vm.disk.xvda", "vm.snapshot"]) {
    t.match(of(id), [{ state: "ok" }], id);
  }
  t.match(of(`port.${lab.port}`), [{ state: "ok" }, { state: "ok" }], "the API of both hosts");
  t.ok(of("vm.room").length > 0);
});

void t.test("wrong password, a clock that is off, a network that is not meant for NBD, a dead host", async (t) => {
  t.match(await check("wrong"), { code: 77 });
  lab.rules.configure({ clockSkewMs: 3_600_000 });
  t.match((await check("backup")).of("server.clock"), [{ state: "warn", text: /(3599|3600|3601) s ahead/ }]);
  lab.rules.configure({ clockSkewMs: 0 });
  const purposes = database.rows("network").map(([ref, { purpose }]) => [ref, purpose] as const);
  for (const [ref] of purposes) database.update("network", ref, { purpose: [] });
  t.match((await check("backup", "/web01")).of("transport.nbd"), [{ state: "warn", text: /fetched into cache\.dir/ }]);
  for (const [ref, purpose] of purposes) database.update("network", ref, { purpose: purpose ?? [] });
  await lab.stopHost(1);
  const dead = await check("backup");
  t.match(dead.of(`port.${lab.port}`), [{ state: "ok" }, { state: "warn", text: /nbd is left/ }]);
  await lab.startHost(1);
});

void t.test("thick storage that is too full, and a chain that is too long", async (t) => {
  const [, data] = vm.disks;
  const sr = database.text("VDI", data?.ref ?? "", "SR");
  const { type, physical_size: size } = database.row("SR", sr);
  database.update("SR", sr, { type: "lvm", physical_size: "1048576" });
  const full = await check("backup", "/web01");
  t.match(full.of("vm.room"), [{ state: "fail", exit: "space", text: /and a snapshot takes/ }]);
  t.equal(full.code, 80);
  database.update("SR", sr, { type: type ?? "", physical_size: size ?? "" });
  database.update("VDI", data?.ref ?? "", { sm_config: { "vhd-parent": data?.uuid ?? "" } });
  const deep = await check("backup", "/web01");
  t.match(deep.of("vm.chain"), [{ state: "fail", exit: "snapshot", text: /30 older images/ }]);
  t.equal(deep.code, 71);
  database.update("VDI", data?.ref ?? "", { sm_config: {} });
});

void t.test("health contract, and what was left behind", async (t) => {
  await healthContract(t, {
    connect,
    vm: vm.uuid,
    clockSkewMs: 0,
    mayEverything: true,
    remembers: true,
    happen: async (server) => {
      const spec = { name: "made by a test", description: "", quiesce: false };
      await server.removeSnapshot((await server.createSnapshot(vm.uuid, spec, { signal })).ref, { signal });
    },
  });
  await using server = await connect();
  const mark = { version: "0", session: "k3v9q2m7xa", host: hostname(), mountPoint: "/mnt", created: "" };
  const ours = { name: snapshotName(mark.session), description: describeOwnership(mark), quiesce: false };
  const { ref } = await server.createSnapshot(vm.uuid, ours, { signal });
  t.match((await check("backup", "/web01")).of("vm.leftover"), [{ state: "warn", hint: /umount k3v9q2m7xa/ }]);
  await server.removeSnapshot(ref, { signal });
});
