import { randomBytes } from "node:crypto";
import { gzipSync } from "node:zlib";
import t, { type Test } from "tap";
import type { LabPool } from "../../../../src/lab/xen/lab-pool.js";
import { tarMember } from "../../../../src/lab/xen/archive/chunk-writer.js";
import type { ProfileName } from "../../../../src/lab/xen/profile.js";
import { testPool } from "../../../fixtures/xen/lab-pool.js";
import { PoolClient } from "../../../fixtures/xen/pool-client.js";

interface Prepared {
  readonly lab: LabPool;
  readonly client: PoolClient;
  /** Of the machine that is off. */
  readonly archive: Buffer;
  readonly put: (query: Readonly<Record<string, string>>, body: Buffer) => Promise<readonly string[]>;
}

async function prepared(t: Test, profile: ProfileName): Promise<Prepared> {
  const { lab } = await testPool(t, { profile });
  const client = await PoolClient.login(lab);
  const { body: archive } = await client.get("/export", { ref: lab.vm("cold01").ref });
  const put = async (query: Readonly<Record<string, string>>, body: Buffer): Promise<readonly string[]> => {
    const task = await client.putWithTask("/import", query, body);
    return task.status === "success" ? ["success"] : task.error_info;
  };
  return { lab, client, archive, put };
}

/** The archive with another ova.xml. */
function edited(archive: Buffer, edit: (ova: string) => string): Buffer {
  const length = Number.parseInt(archive.toString("latin1", 124, 135), 8);
  const end = 512 + Math.ceil(length / 512) * 512;
  const ova = Buffer.from(edit(archive.toString("utf8", 512, 512 + length)));
  return Buffer.concat([...tarMember("ova.xml", ova, 0), archive.subarray(end)]);
}

void t.test("archives that real hosts refuse are refused, and nothing of them stays", async (t) => {
  const { lab, client, archive, put } = await prepared(t, "8.2");
  const counts = (): Record<string, number> => ({ ...lab.counts(), task: 0, VBD: 0 });
  const before = counts();
  const major = (value: number) =>
    edited(archive, (ova) => ova.replace(/(<name>xapi_major<\/name><value>)\d+/, `$1${value}`));
  t.strictSame(await put({}, major(2)), ["IMPORT_INCOMPATIBLE_VERSION"], "another major version");
  t.strictSame(await put({}, archive.subarray(0, -1_200_000)), ["IMPORT_ERROR_PREMATURE_EOF"], "an early end");
  t.strictSame(await put({}, Buffer.from("x")), ["IMPORT_ERROR_PREMATURE_EOF"], "hardly anything");
  t.strictSame(await put({}, Buffer.alloc(4096, "x")), ["IMPORT_ERROR_PREMATURE_EOF"], "what is taken for gzip");
  const other = Buffer.concat(tarMember("./ova.xml", randomBytes(2048), 0));
  t.strictSame(await put({}, gzipSync(other)), ["IMPORT_ERROR_UNEXPECTED_FILE", "ova.xml", "./ova.xml"]);
  const field = edited(archive, (ova) => ova.replace(/<member><name>storage_lock<\/name>.*?<\/member>/, ""));
  t.match((await put({}, field)).join(), /^IMPORT_ERROR,.*Field storage_lock not present in rpc/);
  const flipped = Buffer.from(archive);
  flipped.writeUInt8(flipped.readUInt8(600_000) ^ 1, 600_000);
  t.match(
    (await put({}, flipped)).join(),
    /^IMPORT_ERROR,INTERNAL_ERROR: \[ .*Block Ref:\d+\/00000000 checksum failed/,
  );
  t.strictSame(counts(), before, "what was made is gone again");
  t.strictSame(await put({ force: "true" }, flipped), ["success"], "by force it is taken");
  t.equal(lab.counts()["VM"], (before["VM"] ?? 0) + 1);

  const task = await client.newTask();
  const query = new URLSearchParams({ session_id: client.session, task_id: task }).toString();
  const coded = await client.send("PUT", `/import?${query}`, { "transfer-encoding": "chunked" }, archive);
  t.equal(coded.status, 403);
  t.strictSame((await client.task(task)).error_info, ["IMPORT_ERROR_CANNOT_HANDLE_CHUNKED"]);
  const iso = lab.pool.database.where("SR", "type", "iso")[0] ?? "";
  t.strictSame(await put({ sr_id: iso }, archive), ["SR_OPERATION_NOT_SUPPORTED", iso]);
  lab.pool.database.update("pool", lab.pool.poolRef, { default_SR: "OpaqueRef:NULL" });
  t.strictSame(await put({}, archive), ["DEFAULT_SR_NOT_FOUND", "OpaqueRef:NULL"]);
});

void t.test("old hosts know neither XXH64 nor newer archives; new hosts take old ones", async (t) => {
  const [old, middle, young] = [await prepared(t, "7.1"), await prepared(t, "8.2"), await prepared(t, "8.3")];
  t.strictSame(await old.put({}, middle.archive), ["IMPORT_INCOMPATIBLE_VERSION"]);
  t.strictSame(await middle.put({}, young.archive), ["IMPORT_INCOMPATIBLE_VERSION"]);
  t.strictSame(await young.put({}, old.archive), ["success"]);
  t.strictSame(await middle.put({}, old.archive), ["success"]);
  const lowered = edited(middle.archive, (ova) => ova.replace(/(<name>xapi_minor<\/name><value>)\d+/, "$19"));
  t.match((await old.put({}, lowered)).join(), /Expected to find an inline checksum/);
});

void t.test("a full restore keeps who a VM is", async (t) => {
  for (const profile of ["8.2", "8.3"] as const) {
    const { lab, client, archive, put } = await prepared(t, profile);
    const { database } = lab.pool;
    const { ref, uuid } = lab.vm("cold01");
    t.strictSame(await put({ restore: "true" }, archive), ["VM_TO_IMPORT_IS_NOT_NEWER_VERSION", ref, "0", "0"]);
    const disks = lab.counts()["VDI"] ?? 0;
    t.strictSame(await put({ restore: "true", force: "true" }, archive), ["success"]);
    t.equal(database.has("VM", ref), false, "the old one made room");
    const restored = lab.vm("cold01").ref;
    t.match(database.row("VM", restored), { uuid, version: 1 });
    t.equal(lab.counts()["VDI"], disks + 1, "whose disk belongs to nobody now");

    const snapshot = await client.call("VM.snapshot", restored, "frozen");
    const { body } = await client.get("/export", { ref: String(snapshot) });
    const seed = (database.row("VM", restored)["other_config"] as Record<string, string>)["mac_seed"];
    const duplicate = profile === "8.2" ? ["DUPLICATE_VM", uuid] : ["DUPLICATE_MAC_SEED", seed];
    t.strictSame(await put({ restore: "true" }, body), duplicate, "its snapshot is another VM with the same seed");
    t.strictSame(await put({}, body), ["success"], "a new VM gets a new seed");
  }
});

void t.test("raw images arrive whole, in blocks, or not at all", async (t) => {
  const { lab, client } = await prepared(t, "8.3");
  lab.rules.configure({ detachMs: 0 });
  const { database } = lab.pool;
  const SR = database.text("pool", lab.pool.poolRef, "default_SR");
  const record = { SR, virtual_size: 2 ** 21, type: "user", sharable: false, read_only: false, other_config: {} };
  const vdi = String(await client.call("VDI.create", record));
  const block = (offset: number, data: Buffer): Buffer => {
    const head = Buffer.alloc(12);
    head.writeBigUInt64LE(BigInt(offset));
    head.writeUInt32LE(data.length, 8);
    return Buffer.concat([head, data]);
  };
  const data = Buffer.alloc(4096, "data");
  const blocks = Buffer.concat([block(8192, data), block(2 ** 20, data), Buffer.alloc(12)]);
  const written = await client.putWithTask("/import_raw_vdi", { vdi, chunked: "" }, blocks);
  t.equal(written.status, "success", written.error_info.join());
  t.equal(written.result, `<value>${vdi}</value>`);
  const expected = Buffer.alloc(2 ** 21);
  data.copy(expected, 8192);
  data.copy(expected, 2 ** 20);
  t.ok((await client.get("/export_raw_vdi", { vdi })).body.equals(expected));
  const beyond = await client.putWithTask("/import_raw_vdi", { vdi, chunked: "" }, block(2 ** 21, data));
  t.strictSame(beyond.error_info, ["VDI_IO_ERROR", "Device I/O error"]);
  const short = await client.putWithTask("/import_raw_vdi", { vdi, chunked: "" }, block(0, data));
  t.equal(short.status, "failure", "without the end");
  const long = await client.putWithTask("/import_raw_vdi", { vdi }, Buffer.alloc(2 ** 21 + 512));
  t.strictSame(long.error_info, ["VDI_IO_ERROR", "Device I/O error"], "more than the disk holds");
  const none = await client.putWithTask("/import_raw_vdi", {}, Buffer.alloc(512));
  t.equal(none.error_info[0], "VDI_MISSING");
  const own = await client.putWithTask("/import_raw_vdi", { sr_id: SR }, Buffer.alloc(2 ** 21, 7));
  t.equal(own.status, "success", own.error_info.join());
});
