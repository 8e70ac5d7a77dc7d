import { execFileSync } from "node:child_process";
import { request } from "node:https";
import t from "tap";
import type { LabPool } from "../../../../src/lab/xen/lab-pool.js";
import { until } from "../../../fixtures/host/until.js";
import { testPool } from "../../../fixtures/xen/lab-pool.js";
import { PoolClient } from "../../../fixtures/xen/pool-client.js";

function diskOf(lab: LabPool, vm: string, place = "0"): string {
  const { database } = lab.pool;
  const vbd = database.where("VBD", "VM", vm).find((one) => database.text("VBD", one, "userdevice") === place) ?? "";
  return database.text("VBD", vbd, "VDI");
}

const names = (archive: Buffer): string[] =>
  execFileSync("tar", ["-t"], { input: archive }).toString().trim().split("\n");

void t.test("what goes wrong shows as on a real host", async (t) => {
  const users = new Map([["reader", { password: "reader's", role: "read-only" as const }]]);
  const { lab } = await testPool(t, { profile: "8.2", users });
  const client = await PoolClient.login(lab);
  const { ref } = lab.vm("cold01");
  const before = lab.rules.add({
    match: { path: "/export" },
    count: 1,
    action: { kind: "fault", name: "VDI_MISSING" },
  });
  const early = await client.getWithTask("/export", { ref });
  t.equal(before(), 1);
  t.equal(early.status, 500);
  t.match(early.body.toString(), /<h1> Additional information <\/h1>VDI_MISSING: \[/);
  t.strictSame(early.task.error_info, ["VDI_MISSING"]);

  lab.rules.add({
    match: { path: "/export" },
    count: 1,
    action: { kind: "fault", name: "VDI_IO_ERROR", parameters: ["x"], where: "task" },
  });
  const late = await client.getWithTask("/export", { ref });
  t.equal(late.status, 200);
  t.match(late.body.toString("latin1"), /^HTTP\/1\.1 500 Internal Error\r\n/, "a second answer in the body");
  t.strictSame(late.task.error_info, ["VDI_IO_ERROR", "x"]);

  lab.rules.add({ match: { path: "/export" }, count: 1, action: { kind: "cut", afterBytes: 100_000 } });
  const cut = await client.getWithTask("/export", { ref });
  t.equal(cut.body.length, 100_000);
  t.equal(cut.task.status, "failure", "only the task tells");

  const running = await client.getWithTask("/export", { ref: lab.vm("web01").ref });
  t.equal(running.status, 500);
  t.strictSame(running.task.error_info.slice(2), ["halted, suspended", "running"]);
  t.equal((await client.send("HEAD", "/export", {})).status, 501, "HEAD is not known");
  t.equal((await client.send("GET", "/export?session_id=OpaqueRef:none", {})).status, 401);
  const authorization = `Basic ${Buffer.from(`${lab.user}:${lab.password}`).toString("base64")}`;
  t.equal((await client.send("GET", `/export?ref=${ref}`, { authorization })).status, 200, "Basic");
  const cookie = `session_id=${encodeURIComponent(client.session)}`;
  t.equal((await client.send("GET", `/export?ref=${ref}`, { cookie })).status, 200, "by cookie");
  const reader = await PoolClient.login(lab, "reader", "reader's");
  t.equal((await reader.get("/export", { ref })).status, 403, "a reader may not export");
});

void t.test("a disk comes raw, as VHD or as the difference to another", async (t) => {
  const { lab } = await testPool(t, { profile: "8.2" });
  const client = await PoolClient.login(lab);
  const live = await client.getWithTask("/export_raw_vdi", { vdi: diskOf(lab, lab.vm("web01").ref) });
  t.equal(live.status, 200);
  t.strictSame(live.task.error_info.slice(0, 1), ["VDI_IN_USE"], "a guest writes to it");
  const [first, second] = [await snapshot(client, lab), await snapshot(client, lab, 5 * 2 ** 20)];
  lab.rules.configure({ detachMs: 600_000 });
  const raw = await client.getWithTask("/export_raw_vdi", { vdi: diskOf(lab, second) });
  t.equal(raw.body.length, 16 * 2 ** 20);
  t.match(raw.headers["content-disposition"], /filename="[0-9a-f-]{36}\.raw"/);
  await t.rejects(client.call("VDI.destroy", diskOf(lab, second)), /VDI_IN_USE/, "in use a moment longer");
  lab.rules.configure({ detachMs: 0 });
  const uuid = lab.pool.database.text("VDI", diskOf(lab, first), "uuid");
  const delta = await client.getWithTask("/export_raw_vdi", { vdi: diskOf(lab, second), format: "vhd", base: uuid });
  t.equal(delta.task.status, "success", delta.task.error_info.join());
  t.equal(delta.body.readUInt32BE(60), 4, "a differencing VHD");
  const table = Array.from({ length: 8 }, (_, index) => delta.body.readUInt32BE(2048 + index * 4));
  t.strictSame(
    table.flatMap((sector, block) => (sector === 0xffffffff ? [] : [block])),
    [2],
    "with the block that was written",
  );
  t.ok(delta.body.subarray(0, 512).equals(delta.body.subarray(-512)), "the footer at both ends");
  const unknown = await client.getWithTask("/export_raw_vdi", { vdi: diskOf(lab, second), format: "zip" });
  t.equal(unknown.status, 404);
  t.strictSame(unknown.task.error_info, ["INTERNAL_ERROR", "Unknown format zip"]);
  // Disks of this size have another format; nothing is in it.
  const huge = diskOf(lab, second, "1");
  lab.pool.database.update("VDI", huge, { virtual_size: 2041 * 2 ** 30 });
  await lab.pool.store.resize(huge, 2041 * 2 ** 30);
  const tooLarge = await client.getWithTask("/export_raw_vdi", { vdi: huge, format: "vhd" });
  t.equal(tooLarge.status, 200);
  t.strictSame(tooLarge.task.error_info, ["VDI_TOO_LARGE", huge, "2190433320960"]);
});

/** @param at where the guest writes before it */
async function snapshot(client: PoolClient, lab: LabPool, at?: number): Promise<string> {
  const { ref } = lab.vm("web01");
  if (at !== undefined) await lab.pool.store.write(diskOf(lab, ref), at, Buffer.from("changed"));
  return (await client.call("VM.snapshot", ref, "frozen")) as string;
}

void t.test("a client that leaves in the middle leaves nothing plugged", async (t) => {
  const { lab } = await testPool(t, { profile: "8.3" });
  lab.rules.add({ match: { path: "/export" }, action: { kind: "bandwidth", bytesPerSecond: 500_000 } });
  const client = await PoolClient.login(lab);
  const { ref } = lab.vm("cold01");
  const before = lab.counts()["VBD"];
  for (const compression of ["none", "gzip", "zstd"]) {
    const task = await client.newTask();
    const query = { session_id: client.session, task_id: task, ref, use_compression: compression };
    await new Promise<void>((resolve, reject) => {
      const { address = "" } = lab.hosts[0] ?? {};
      const path = `/export?${new URLSearchParams(query).toString()}`;
      const asked = request({ host: address, port: lab.port, path, rejectUnauthorized: false }, (response) => {
        response.once("data", () => {
          asked.destroy();
          resolve();
        });
      });
      asked.once("error", reject).end();
    });
    t.strictSame((await client.ended(task)).error_info.slice(0, 1), ["CLIENT_ERROR"], compression);
  }
  await until("the disks are unplugged", () => lab.counts()["VBD"] === before);
});

void t.test("metadata of snapshots came late", async (t) => {
  for (const profile of ["8.2", "8.3"] as const) {
    const { lab } = await testPool(t, { profile });
    const client = await PoolClient.login(lab);
    const ref = await snapshot(client, lab);
    const own = await client.getWithTask("/export_metadata", { ref });
    t.equal(own.task.error_info[1], profile === "8.2" ? "Exporting metadata of a snapshot is not allowed" : undefined);
    const parent = await client.getWithTask("/export_metadata", { ref: lab.vm("web01").ref });
    t.equal(parent.headers["content-length"], String(parent.body.length));
    t.strictSame(names(parent.body), ["ova.xml"]);
    t.match(parent.body.toString(), /<value>frozen<\/value>/, "with its snapshot");
    const dry = await client.putWithTask(
      "/import_metadata",
      { dry_run: "true", restore: "true", force: "true" },
      parent.body,
    );
    t.equal(dry.status, "success", dry.error_info.join());
    const alone = await client.get("/export_metadata", { ref: lab.vm("web01").ref, export_snapshots: "false" });
    t.notMatch(alone.body.toString(), /<value>frozen<\/value>/);
  }
});

void t.test("a host that does not see the disks names one that does", async (t) => {
  const { lab } = await testPool(t, { profile: "8.3" });
  const client = await PoolClient.login(lab);
  const local = diskOf(lab, (await client.call("VM.snapshot", lab.vm("db01").ref, "frozen")) as string, "1");
  const task = await client.newTask();
  const sent = await client.get("/export_raw_vdi", { vdi: local, task_id: task });
  t.equal(sent.status, 302);
  const { searchParams, hostname } = new URL(String(sent.headers["location"]));
  t.equal(hostname, "127.0.0.2");
  t.equal((await client.task(task)).status, "pending", "the task goes along");
  const { body } = await client.on(1).get("/export_raw_vdi", Object.fromEntries(searchParams));
  t.equal(body.length, 8 * 2 ** 20);
  t.equal((await client.ended(task)).status, "success");
  await lab.stopHost(1);
  const nobody = await client.getWithTask("/export_raw_vdi", { vdi: local });
  t.strictSame(nobody.task.error_info, ["NO_HOSTS_AVAILABLE"]);
});

void t.test("the pool's database and a host's files", async (t) => {
  const { lab } = await testPool(t, { profile: "8.2" });
  const client = await PoolClient.login(lab);
  const { body, task } = await client.getWithTask("/pool/xmldbdump", {});
  t.equal(task.status, "success");
  const dump = body.toString();
  t.match(
    dump,
    /<database><manifest><pair key="schema_major_vsn" value="5"\/><pair key="schema_minor_vsn" value="603"\/>/,
  );
  t.match(dump, /<table name="VM"><row ref="OpaqueRef:[^"]+" __ctime="\d+" __mtime="\d+" /);
  t.match(dump, /name__description="A%.running%.machine"/);
  t.match(dump, /<table name="task"\/>/);
  const check = (text: string) => client.putWithTask("/pool/xmldbdump", { dry_run: "true" }, Buffer.from(text));
  t.equal((await check(dump)).status, "success");
  const other = await check(dump.replace('value="603"', 'value="604"'));
  t.strictSame(other.error_info, ["RESTORE_INCOMPATIBLE_VERSION"]);
  const card = await check(dump.replaceAll('device="eth0"', 'device="eth7"'));
  t.strictSame(card.error_info, ["RESTORE_TARGET_MISSING_DEVICE", "eth7"]);
  t.equal((await check("<nothing/>")).status, "failure");
  const member = await client.on(1).getWithTask("/pool/xmldbdump", {});
  t.strictSame(member.task.error_info, ["HOST_IS_SLAVE", "127.0.0.1"]);

  const backup = await client.on(1).getWithTask("/host_backup", {});
  t.equal(backup.task.status, "success", backup.task.error_info.join());
  t.equal(backup.headers["content-length"], undefined);
  const files = execFileSync("tar", ["-tz"], { input: backup.body }).toString().split("\n");
  t.ok(files.includes("./etc/xensource-inventory"));
  t.ok(files.some((name) => name.startsWith("./var/backup/pool-database-")));
});
