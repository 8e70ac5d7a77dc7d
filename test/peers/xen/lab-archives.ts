import { createHash } from "node:crypto";
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import t from "tap";
import type { LabPool } from "../../../src/lab/xen/lab-pool.js";
import type { ProfileName } from "../../../src/lab/xen/profile.js";
import type { RulesInput } from "../../../src/lab/rules.js";
import { succeed } from "../../fixtures/host/command-line.js";
import { scratch } from "../../fixtures/scratch.js";
import { testPool } from "../../fixtures/xen/lab-pool.js";
import { PoolClient } from "../../fixtures/xen/pool-client.js";

/** Disks of a VM by their place in it: SHA-256 of the bytes. */
async function disksOf(lab: LabPool, vm: string): Promise<Record<string, string>> {
  const { database } = lab.pool;
  const hashes: Record<string, string> = {};
  for (const vbd of database.where("VBD", "VM", vm)) {
    if (database.text("VBD", vbd, "type") !== "Disk") continue;
    const place = database.text("VBD", vbd, "userdevice");
    hashes[place] = await lab.hashVdi(database.text("VBD", vbd, "VDI"));
  }
  return hashes;
}

function firstRef(result: string): string {
  return /OpaqueRef:[0-9a-f-]+/.exec(result)?.[0] ?? "";
}

interface Variant {
  readonly profile: ProfileName;
  readonly settings?: NonNullable<RulesInput["settings"]>;
  readonly compression?: string;
  /** Of tar, to read it. */
  readonly filter?: string;
}

const VARIANTS: Readonly<Record<string, Variant>> = {
  "SHA-1 of 7.1": { profile: "7.1" },
  "XXH64 of 8.2": { profile: "8.2" },
  "empty chunks that keep the connection alive": { profile: "8.3", settings: { exportKeepAliveChunks: 1 } },
  "chunks by allocation": { profile: "8.3", settings: { exportChunks: "allocated" } },
  gzip: { profile: "7.1", compression: "true", filter: "--gzip" },
  zstd: { profile: "8.3", compression: "zstd", filter: "--zstd" },
};

for (const [name, { profile, settings, compression, filter }] of Object.entries(VARIANTS)) {
  void t.test(`GNU tar lists an export, and it can be imported again: ${name}`, async (t) => {
    const { lab } = await testPool(t, { profile });
    lab.rules.configure(settings ?? {});
    const client = await PoolClient.login(lab);
    const snapshot = (await client.call("VM.snapshot", lab.vm("web01").ref, "frozen")) as string;
    const exported = await client.getWithTask("/export", { ref: snapshot, use_compression: compression ?? "false" });
    t.equal(exported.task.status, "success", exported.task.error_info.join());
    const path = join(scratch(t), "export.xva");
    await writeFile(path, exported.body);
    const names = (await succeed("tar", [...(filter === undefined ? [] : [filter]), "-tf", path])).trim().split("\n");
    t.equal(names[0], "ova.xml");
    const extension = profile === "7.1" ? "checksum" : "xxhash";
    const isPaired = names.slice(1).every((one, index, all) => {
      return index % 2 === 0 ? /^Ref:\d+\/\d{8}$/.test(one) : one === `${all[index - 1] ?? ""}.${extension}`;
    });
    t.equal(isPaired, true, "data and hash in turn");
    const imported = await client.putWithTask("/import", {}, exported.body);
    t.equal(imported.status, "success", imported.error_info.join());
    const vm = firstRef(imported.result);
    t.equal(lab.pool.database.row("VM", vm)["is_a_template"], true, "a snapshot arrives as a template");
    t.strictSame(await disksOf(lab, vm), await disksOf(lab, snapshot), "its disks are the same, byte for byte");
  });
}

void t.test("qemu-img reads a VHD stream", async (t) => {
  const { lab } = await testPool(t, { profile: "8.2" });
  const client = await PoolClient.login(lab);
  const { database } = lab.pool;
  const [vbd = ""] = database.where("VBD", "VM", lab.vm("cold01").ref);
  const vdi = database.text("VBD", vbd, "VDI");
  const answer = await client.getWithTask("/export_raw_vdi", { vdi, format: "vhd" });
  t.equal(answer.task.status, "success", answer.task.error_info.join());
  t.equal(answer.headers["content-type"], "application/vhd");
  const folder = scratch(t);
  const [vhd, raw] = [join(folder, "disk.vhd"), join(folder, "disk.raw")];
  await writeFile(vhd, answer.body);
  // QEMU takes the size from the geometry otherwise, which is smaller.
  const source = `driver=vpc,force_size_calc=current_size,file.filename=${vhd}`;
  await succeed("qemu-img", ["convert", "--image-opts", source, "-O", "raw", raw]);
  const sha256 = createHash("sha256")
    .update(await readFile(raw))
    .digest("hex");
  t.equal(sha256, await lab.hashVdi(vdi));

  const made = await client.call("VDI.create", {
    ...{ SR: database.text("VDI", vdi, "SR"), virtual_size: 16 * 2 ** 20, type: "user", name_label: "copy" },
    ...{ sharable: false, read_only: false, other_config: {} },
  });
  const put = await client.putWithTask("/import_raw_vdi", { vdi: String(made), format: "vhd" }, answer.body);
  t.equal(put.status, "success", put.error_info.join());
  t.equal(await lab.hashVdi(String(made)), sha256, "and the lab reads it back");
});

void t.test("an archive can be unpacked with GNU tar and put together from its chunks", async (t) => {
  const { lab } = await testPool(t, { profile: "8.3" });
  const client = await PoolClient.login(lab);
  const { ref } = lab.vm("cold01");
  const { body } = await client.get("/export", { ref });
  const folder = scratch(t);
  await writeFile(join(folder, "export.xva"), body);
  await succeed("tar", ["-xf", join(folder, "export.xva"), "-C", folder]);
  const ova = await readFile(join(folder, "ova.xml"), "utf8");
  t.match(ova, /^<value><struct><member><name>version<\/name>/);
  t.match(ova, /<name>export_vsn<\/name><value>2<\/value>/);
  const folders = (await succeed("sh", ["-c", `cd ${folder} && ls -d Ref:*`])).trim().split("\n");
  t.equal(folders.length, 1);
  const disk = Buffer.alloc(16 * 2 ** 20);
  for (const name of (await succeed("ls", [join(folder, folders[0] ?? "")])).trim().split("\n")) {
    if (/^\d{8}$/.test(name)) (await readFile(join(folder, folders[0] ?? "", name))).copy(disk, Number(name) * 2 ** 20);
  }
  const hash = createHash("sha256").update(disk).digest("hex");
  t.strictSame(await disksOf(lab, ref), { "0": hash });
});
