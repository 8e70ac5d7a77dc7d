import { Readable } from "node:stream";
import t, { type Test } from "tap";
import { Xapi } from "xen-api";
import type { LabPool } from "../../../src/lab/xen/lab-pool.js";
import { testPool } from "../../fixtures/xen/lab-pool.js";

async function connected(t: Test, lab: LabPool): Promise<Xapi> {
  const auth = { user: lab.user, password: lab.password };
  const xapi = new Xapi({ url: lab.url.replace("xen:", "https:"), auth, allowUnauthorized: true });
  await xapi.connect();
  t.teardown(() => xapi.disconnect());
  return xapi;
}

async function collect(body: AsyncIterable<Uint8Array>): Promise<Buffer> {
  const parts: Uint8Array[] = [];
  for await (const part of body) parts.push(part);
  return Buffer.concat(parts);
}

/** A stream that knows its length, as Xen Orchestra sends it. */
function streamOf(bytes: Buffer): Readable {
  return Object.assign(Readable.from([bytes.subarray(0, 100), bytes.subarray(100)], { objectMode: false }), {
    length: bytes.length,
  });
}

async function hashes(lab: LabPool, vm: string): Promise<string[]> {
  const { database } = lab.pool;
  const disks = database.where("VBD", "VM", vm).filter((vbd) => database.text("VBD", vbd, "type") === "Disk");
  const sorted = disks.sort((a, b) =>
    database.text("VBD", a, "userdevice") < database.text("VBD", b, "userdevice") ? -1 : 1,
  );
  return Promise.all(sorted.map((vbd) => lab.hashVdi(database.text("VBD", vbd, "VDI"))));
}

for (const profile of ["7.1", "8.2", "8.3"] as const) {
  void t.test(`Xen Orchestra's client exports a VM of ${profile} and imports it`, async (t) => {
    const { lab, lines } = await testPool(t, { profile });
    const xapi = await connected(t, lab);
    const { ref, name } = lab.vm("cold01");
    const { body, task } = await xapi.getResource("/export/", { query: { ref }, task: true });
    const archive = await collect(body);
    await task;
    const refs = await xapi.putResource(streamOf(archive), "/import/", { query: {}, task: true });
    const [vm] = refs as [string];
    t.not(vm, ref);
    const record = lab.pool.database.row("VM", vm);
    t.match(record, { name_label: name, power_state: "Halted", is_a_template: false, is_a_snapshot: false });
    t.strictSame(await hashes(lab, vm), await hashes(lab, ref), "its disk is the same, byte for byte");
    t.strictSame(
      lines.filter(({ level }) => level === "error"),
      [],
    );
  });
}

void t.test("Xen Orchestra's client is sent to the host that sees the disks", async (t) => {
  const { lab } = await testPool(t, { profile: "8.3" });
  const xapi = await connected(t, lab);
  const snapshot = (await xapi.call("VM.snapshot", lab.vm("db01").ref, "frozen")) as string;
  const { body, task } = await xapi.getResource("/export", { query: { ref: snapshot }, task: true });
  const archive = await collect(body);
  await task;
  t.equal(archive.subarray(0, 7).toString(), "ova.xml");
  t.ok(archive.subarray(-1024).equals(Buffer.alloc(1024)), "to its end");
});

void t.test("Xen Orchestra's client reads and writes a raw disk", async (t) => {
  const { lab } = await testPool(t, { profile: "8.2" });
  const xapi = await connected(t, lab);
  const { database } = lab.pool;
  const [vbd = ""] = database.where("VBD", "VM", lab.vm("cold01").ref);
  const vdi = database.text("VBD", vbd, "VDI");
  const { body, task } = await xapi.getResource("/export_raw_vdi/", { query: { vdi, format: "raw" }, task: true });
  const raw = await collect(body);
  await task;
  const sr_id = database.text("VDI", vdi, "SR");
  const made = (await xapi.putResource(streamOf(raw), "/import_raw_vdi/", { query: { sr_id }, task: true })) as string;
  t.equal(await lab.hashVdi(made), await lab.hashVdi(vdi));
});
