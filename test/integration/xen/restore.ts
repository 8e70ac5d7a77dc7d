import { copyFile, open, readFile, stat, truncate } from "node:fs/promises";
import { join } from "node:path";
import t from "tap";
import type { LabPool } from "../../../src/lab/xen/lab-pool.js";
import type { RestoreResult } from "../../../src/restore/restore-to-pool.js";
import { succeed } from "../../fixtures/host/command-line.js";
import { ProxyHost } from "../../fixtures/host/proxy-host.js";
import { testPool } from "../../fixtures/xen/lab-pool.js";
import { PoolClient } from "../../fixtures/xen/pool-client.js";
import { countsAtRest } from "../../fixtures/xen/pool-at-rest.js";
import { withFields } from "../../fixtures/xen/with-fields.js";

const { lab } = await testPool(t, { profile: "8.3" });
const host = await ProxyHost.make(t, lab);

/** An archive as the pool itself writes it, fetched by a program that is not ours. */
async function exported(from: LabPool, name: string, query = ""): Promise<string> {
  const path = join(host.directory, `${name}${query.replaceAll(/\W/g, "-")}.xva`);
  const password = (await readFile(from.passwordPath, "utf8")).trim();
  const url = `${from.url.replace("xen:", "https:")}/export?uuid=${from.vm(name).uuid}${query}`;
  await succeed("curl", ["-sS", "--fail", "-k", "-K", "-", "-o", path, url], { input: `user = "root:${password}"\n` });
  return path;
}

async function hashes(from: LabPool, name: string): Promise<string[]> {
  return Promise.all(from.vm(name).disks.map(({ uuid }) => from.hashVdi(uuid)));
}

/** How often somebody began to send an archive. */
function imports(into: LabPool): number {
  return into.traffic.report().files["/import"]?.requests ?? 0;
}

function storageOf(pool: LabPool, name: string): string {
  const [ref] = pool.pool.database.rows("SR").find(([, row]) => row["name_label"] === name) ?? [""];
  return ref;
}

const archive = await exported(lab, "cold01");

void t.test("an archive is imported as a new VM with the same disks", async (t) => {
  const before = await countsAtRest(lab);
  const result = await host.json<RestoreResult>(["restore", archive, "--name", "cold02"]);
  t.match(result, { vms: [{ name: "cold02", isTemplate: false }], storage: { name: "NFS" } });
  t.not(result.vms[0]?.uuid, lab.vm("cold01").uuid, "it has a UUID of its own");
  t.same(await hashes(lab, "cold02"), await hashes(lab, "cold01"));
  const after = await countsAtRest(lab);
  t.equal(after["VM"], (before["VM"] ?? 0) + 1);
  t.equal(after["VDI"], (before["VDI"] ?? 0) + lab.vm("cold02").disks.length);
  t.match(after, { task: before["task"], session: 0 });
  t.equal(imports(lab), 1);
});

void t.test(
  "a packed archive goes through as it is, and one with empty chunks that kept its connection alive",
  async (t) => {
    lab.rules.configure({ exportKeepAliveChunks: 1 });
    const patient = await exported(lab, "cold01", "&keep=alive");
    lab.rules.configure({ exportKeepAliveChunks: 0 });
    const packed = await exported(lab, "cold01", "&use_compression=gzip");
    const packedTight = await exported(lab, "cold01", "&use_compression=zstd");
    t.not((await stat(patient)).size, (await stat(archive)).size, "there are such chunks in it");
    for (const [path, name] of [
      [patient, "cold03"],
      [packed, "cold04"],
      [packedTight, "cold05"],
    ] as const) {
      await host.json<RestoreResult>(["import", path, "--name", name]);
      t.same(await hashes(lab, name), await hashes(lab, "cold01"), path);
    }

    const { lab: old } = await testPool(t, { profile: "7.1" });
    const proxy = await ProxyHost.make(t, old);
    const before = await countsAtRest(old);
    const refused = await proxy.vmmount(["restore", packedTight]);
    t.match(refused, { code: 69, stderr: /XenServer 7\.1.*packed with zstd.*from release 8\.1 on.*zstd -d/s });
    t.equal(imports(old), 0, "nothing was sent");
    t.same(await countsAtRest(old), before);
  },
);

void t.test("what cannot work is told before the first byte, with what to do, and leaves nothing", async (t) => {
  const cut = await exported(lab, "cold01", "&cut=1");
  await truncate(cut, 700_000);
  const other = await testPool(t, { profile: "8.2" });
  const old = await ProxyHost.make(t, other.lab);
  const before = await countsAtRest(lab);
  const sent = imports(lab);
  const cases: [args: string[], code: number, message: RegExp][] = [
    [[cut], 65, /archive/],
    [[join(host.directory, "nothing.xva")], 66, /no such file/],
    [[host.configPath], 65, /no \.xva archive/],
    [[host.mountPoint], 64, /catalog\.json/],
    [[archive, "--sr", "Nowhere"], 66, /"Nowhere".*The pool has "NFS"/s],
    [[archive, "--sr", "ISO"], 79, /library of ISO images.*The pool has "NFS"/s],
  ];
  for (const [args, code, message] of cases) {
    const { code: ended, stderr } = await host.vmmount(["restore", ...args]);
    t.match({ ended, stderr }, { ended: code, stderr: message }, args.join(" "));
  }
  const refused = await old.vmmount(["restore", archive]);
  t.match(refused, { code: 69, stderr: /written for xapi \d+\.\d+, and the pool has 1\.20.*ova\.xml/s });
  lab.pool.database.update("pool", lab.pool.poolRef, { default_SR: "OpaqueRef:NULL" });
  const homeless = await host.vmmount(["restore", archive]);
  t.match(homeless, { code: 66, stderr: /no default one.*--sr.*"NFS" \(.*free, shared\)/s });
  t.equal(imports(lab), sent, "nothing was sent");
  t.equal(imports(other.lab), 0, "nor to the other pool");
  t.same(await countsAtRest(lab), before);
});

void t.test(
  "storage that is full, ambiguous or seen by nobody is told before the first byte, and what can be taken",
  async (t) => {
    const before = await countsAtRest(lab);
    const sent = imports(lab);
    const [nfs, local] = [storageOf(lab, "NFS"), storageOf(lab, "Local of xen2")];
    const refused = async (storage: string, code: number, message: RegExp): Promise<void> => {
      const ended = await host.vmmount(["restore", archive, "--sr", storage]);
      t.match(ended, { code, stderr: message }, storage);
    };
    await withFields(lab, ["SR", nfs, { physical_size: "1048576" }], () =>
      refused("NFS", 80, /"NFS": \d+\.\d GiB are needed and 0\.0 GiB are free.*"Local of xen2" \(.*of one host/s),
    );
    await withFields(lab, ["SR", local, { name_label: "NFS" }], async () => {
      await refused("NFS", 67, /2 storage repositories are named "NFS".*Give its UUID.*shared.*of one host/s);
      t.equal(imports(lab), sent, "nothing was sent");
      const uuid = lab.pool.database.text("SR", local, "uuid");
      const result = await host.json<RestoreResult>(["restore", archive, "--sr", uuid, "--name", "cold06"]);
      t.equal(result.storage.uuid, uuid, "its UUID says which one");
      const client = await PoolClient.login(lab);
      const { ref, disks } = lab.vm("cold06");
      await client.call("VM.destroy", ref);
      for (const disk of disks) await client.call("VDI.destroy", disk.ref);
      await client.call("session.logout");
    });
    await lab.stopHost(1);
    await refused("Local of xen2", 79, /"Local of xen2": no running host sees it.*The pool has "NFS" \(/s);
    await lab.startHost(1);
    t.equal(imports(lab), sent + 1, "nothing was sent but by UUID");
    t.same(await countsAtRest(lab), before);
  },
);

void t.test("a VM that is imported and cannot be named is told of", async (t) => {
  const stop = lab.rules.add({
    match: { method: "VM.set_name_label" },
    action: { kind: "fault", name: "OPERATION_NOT_ALLOWED", parameters: ["not now"] },
  });
  const { code, stderr } = await host.vmmount(["restore", archive, "--name", "cold07", "--sr", "NFS"]);
  stop();
  t.match({ code, stderr }, { code: 76, stderr: /is imported.*not now.*import_task=OpaqueRef:/s });
});

void t.test("the task is the truth: an import that fails after 200 fails, and leaves nothing", async (t) => {
  const before = await countsAtRest(lab);
  const damaged = join(host.directory, "damaged.xva");
  await copyFile(archive, damaged);
  const file = await open(damaged, "r+");
  await file.write(Buffer.from("damage"), 0, 6, (await file.stat()).size - 300_000);
  await file.close();
  const failed = await host.vmmount(["restore", damaged, "--sr", "NFS"]);
  t.match(failed, { code: 65, stderr: /checksum/ });
  t.same(await countsAtRest(lab), before);

  const stop = lab.rules.add({
    match: { path: "/import" },
    action: { kind: "fault", name: "SR_BACKEND_FAILURE_44", parameters: ["", "no space", ""] },
  });
  const full = await host.vmmount(["restore", archive, "--sr", "NFS"]);
  stop();
  t.match(full, { code: 80, stderr: /storage/i });
  t.same(await countsAtRest(lab), before);
});
