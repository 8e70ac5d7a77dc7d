import t from "tap";
import type { BlockSource } from "../../../src/block-source.js";
import { ExtentMap } from "../../../src/fs/block/extent-map.js";
import { bytes, MIB } from "../../../src/units.js";
import { editOva } from "../../../src/xen/xva/edit-ova.js";
import { field, formatOva, parseOva } from "../../../src/xen/xva/ova.js";
import { virtualXva, type XvaDisk } from "../../../src/xen/xva/virtual-xva.js";
import { connectToPool } from "../../fixtures/xen/connect-to-pool.js";
import { diskScope } from "../../fixtures/xen/lab-disk.js";
import { testPool } from "../../fixtures/xen/lab-pool.js";

const { signal } = new AbortController();
const SPEC = { name: "vmmount-0123456789", description: "{}", quiesce: false };

async function* inSteps(source: BlockSource): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < source.size; at += MIB) {
    const piece = new Uint8Array(Math.min(MIB, source.size - at));
    await source.read(piece, bytes(at), { signal });
    yield piece;
  }
}

await t.test("the stand-in pool imports the archive of a snapshot, disk for disk", async (t) => {
  const pool = await testPool(t, { profile: "8.2" });
  const { lab } = pool;
  await using server = await connectToPool(pool);
  const { xapi } = await diskScope(t, pool);
  const { uuid } = lab.vm("web01");
  const snapshot = await server.createSnapshot(uuid, SPEC, { signal });
  const vm = await server.describeVm(uuid, { signal, snapshot: snapshot.ref });
  const [config] = await server.readConfig(uuid, { signal, snapshot: snapshot.ref });
  const given = parseOva(config!.bytes);
  const own = given.objects.find((object) => object.class === "VM" && field(object, "uuid") === snapshot.ref);
  t.ok(own, "the records of the snapshot");
  const sizes = vm.disks.map(({ key, capacity }) => ({ userdevice: key, size: capacity }));
  const edited = editOva(given, { uuid: snapshot.ref, asUuid: uuid, name: "restored", disks: sizes });
  const disks: XvaDisk[] = [];
  for (const { userdevice, id } of edited.disks) {
    const disk = vm.disks.find(({ key }) => key === userdevice)!;
    const { source } = await server.openDisk({ vm: uuid, snapshot: snapshot.ref, disk }, { signal });
    t.teardown(() => source[Symbol.asyncDispose]());
    const holes = await ExtentMap.collect(source.size, source.extents!(bytes(0), source.size, { signal }));
    disks.push({ id, source, holes });
  }
  const [host] = await xapi.hosts({ signal });
  const [sr] = lab.pool.database.rows("SR").find(([, row]) => row["type"] === "nfs")!;
  const frozen = await Promise.all(vm.disks.map((disk) => lab.hashVdi(disk.uuid!)));
  for (const checksum of ["sha1", "xxhash"] as const) {
    await using archive = await virtualXva({ ovaXml: formatOva(edited.ova), disks, checksum });
    const body = { length: archive.size, chunks: inSteps(archive) };
    const result = await xapi.upload(host!, "/import", { sr_id: sr }, body, { what: "Importing", signal });
    const ref = /OpaqueRef:[\w-]+/.exec(JSON.stringify(result))?.[0] ?? "";
    const { database } = lab.pool;
    const row = database.row("VM", ref);
    t.match(
      row,
      { name_label: "restored", is_a_template: false, is_a_snapshot: false, power_state: "Halted" },
      checksum,
    );
    const imported = database
      .where("VBD", "VM", ref)
      .map((vbd) => database.row("VBD", vbd))
      .filter(({ type }) => type === "Disk")
      .sort((a, b) => Number(a["userdevice"]) - Number(b["userdevice"]));
    const hashes = await Promise.all(imported.map((vbd) => lab.hashVdi(vbd["VDI"] as string)));
    t.strictSame(hashes, frozen, checksum);
  }
});
