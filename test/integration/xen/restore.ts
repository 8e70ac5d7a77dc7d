import { copyFile, open, readFile, truncate } from "node:fs/promises";
import { join } from "node:path";
import t from "tap";
import type { LabPool } from "../../../src/lab/xen/lab-pool.js";
import type { RestoreResult } from "../../../src/restore/restore-to-pool.js";
import { succeed } from "../../fixtures/host/command-line.js";
import { ProxyHost } from "../../fixtures/host/proxy-host.js";
import { testPool } from "../../fixtures/xen/lab-pool.js";
import { countsAtRest } from "../../fixtures/xen/pool-at-rest.js";

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
});

void t.test("a packed archive goes through as it is", async (t) => {
  const packed = await exported(lab, "cold01", "&use_compression=gzip");
  await host.json<RestoreResult>(["import", packed, "--name", "cold03"]);
  t.same(await hashes(lab, "cold03"), await hashes(lab, "cold01"));
});

void t.test("what cannot work is told before the first byte, with what to do, and leaves nothing", async (t) => {
  const cut = await exported(lab, "cold01", "&cut=1");
  await truncate(cut, 700_000);
  const other = await testPool(t, { profile: "8.2" });
  const old = await ProxyHost.make(t, other.lab);
  const before = await countsAtRest(lab);
  const sent = lab.traffic.report();
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
  t.same(await countsAtRest(lab), before);
  t.ok(sent);
});

void t.test("a VM that is imported and cannot be named is told of", async (t) => {
  const stop = lab.rules.add({
    match: { method: "VM.set_name_label" },
    action: { kind: "fault", name: "OPERATION_NOT_ALLOWED", parameters: ["not now"] },
  });
  const { code, stderr } = await host.vmmount(["restore", archive, "--name", "cold04", "--sr", "NFS"]);
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
