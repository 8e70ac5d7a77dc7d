import { deepStrictEqual } from "node:assert/strict";
import { execFile } from "node:child_process";
import { access, truncate, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import fc from "fast-check";
import t from "tap";
import { IntegrityError } from "../../../../src/errors.js";
import {
  NO_PARENT_CID,
  parseDescriptor,
  type VmdkDescriptor,
  type VmdkExtent,
} from "../../../../src/image/vmdk/descriptor.js";
import { contentId, flatDescriptor, formatDescriptor } from "../../../../src/image/vmdk/descriptor-text.js";
import { holds } from "../../../fixtures/property.js";
import { bytes, GIB, MIB, sectors } from "../../../../src/units.js";

const run = promisify(execFile);
const QEMU_IMG = "/usr/bin/qemu-img";

function flat(capacity: number, adapter: "ide" | "lsilogic" = "lsilogic", extentName = "scsi0-0-flat.vmdk") {
  const cid = contentId("disk 2000 at snapshot-33");
  return flatDescriptor({ capacity: bytes(capacity), extentName, adapter, hardwareVersion: "19", cid, thin: true });
}

void t.test("formatDescriptor() writes what parseDescriptor() reads", async (t) => {
  const word = fc.stringMatching(/^[A-Za-z0-9 "._()-]{1,20}$/).filter((s) => s.trim() === s && !/^\.*$/.test(s));
  const extent = fc.record(
    {
      access: fc.constantFrom("RW" as const, "RDONLY" as const, "NOACCESS" as const),
      sectors: fc.integer({ min: 1, max: 1 << 30 }).map(sectors),
      type: fc.constantFrom("FLAT", "VMFS", "SESPARSE"),
      name: word,
      offset: fc.nat().map(sectors),
    },
    { noNullPrototype: true },
  );
  const zero = fc.constant<VmdkExtent>({ access: "RW", sectors: sectors(8), type: "ZERO", offset: sectors(0) });
  const descriptor = fc.record(
    {
      version: fc.constantFrom(1, 2, 3),
      cid: fc.nat(0xffffffff),
      createType: word,
      extents: fc.array(fc.oneof(extent, zero), { minLength: 1, maxLength: 20 }),
      ddb: fc
        .uniqueArray(fc.tuple(fc.stringMatching(/^[a-z]{1,8}$/), word), { selector: ([key]) => key, maxLength: 20 })
        .map((entries) => new Map(entries.map(([key, value]) => [`ddb.${key}`, value]))),
      parentCid: fc.constant(NO_PARENT_CID),
    },
    { noNullPrototype: true },
  );
  const property = fc.property(descriptor, (made: VmdkDescriptor) => {
    deepStrictEqual(parseDescriptor(formatDescriptor(made)), made);
  });
  await holds(t, property, { runs: 200 });
});

void t.test("formatDescriptor() keeps parent and encoding, pads content ids", (t) => {
  const child = { ...flat(MIB), cid: 0xa1, parentCid: 0xb2, parentFileNameHint: "../base/p.vmdk", encoding: "GBK" };
  t.match(formatDescriptor(child), 'CID=000000a1\nparentCID=000000b2\ncreateType="monolithicFlat"');
  t.strictSame(parseDescriptor(formatDescriptor(child)), child);
  t.end();
});

void t.test("formatDescriptor() refuses values that would add lines", (t) => {
  t.throws(() => formatDescriptor({ ...flat(MIB), createType: 'x"\nRW 1 FLAT "/etc/shadow" 0' }), IntegrityError);
  t.throws(() => formatDescriptor(flat(MIB, "lsilogic", "../x")), IntegrityError);
  t.end();
});

void t.test("flatDescriptor() derives the geometry from adapter and size", (t) => {
  const geometry = (capacity: number, adapter: "ide" | "lsilogic") =>
    ["cylinders", "heads", "sectors"].map((key) => flat(capacity, adapter).ddb.get(`ddb.geometry.${key}`));
  t.strictSame(geometry(40 * GIB, "lsilogic"), ["5221", "255", "63"]);
  t.strictSame(geometry(512 * MIB, "lsilogic"), ["512", "64", "32"]);
  t.strictSame(geometry(40 * GIB, "ide"), ["16383", "16", "63"]);
  t.strictSame(geometry(512, "ide"), ["1", "16", "63"]);
  t.throws(() => flat(1000), { message: "Cannot describe a disk of 1000 bytes: that is no multiple of 512" });
  t.end();
});

void t.test("flatDescriptor() names no SCSI identity and repeats the content id", (t) => {
  const { cid, ddb } = flat(MIB);
  t.equal(ddb.has("ddb.uuid"), false);
  t.equal(ddb.get("ddb.longContentID")?.slice(-8), cid.toString(16).padStart(8, "0"));
  t.equal(ddb.get("ddb.longContentID")?.length, 32);
  t.equal(ddb.get("ddb.thinProvisioned"), "1");
  t.end();
});

void t.test("contentId() is the same for the same content", (t) => {
  t.equal(contentId("a"), contentId("a"));
  t.not(contentId("a"), contentId("b"));
  t.ok(contentId("a") < 0xfffffffe);
  t.end();
});

void t.test("qemu-img takes our descriptor for a flat VMDK of the right size", async (t) => {
  const installed = await access(QEMU_IMG).then(
    () => true,
    () => false,
  );
  if (!installed) {
    t.comment(`skipped: ${QEMU_IMG} is not installed`);
    return;
  }
  for (const capacity of [512, 3 * MIB + 512, 40 * GIB]) {
    const folder = t.testdir({ "scsi0-0-flat.vmdk": "" });
    await truncate(join(folder, "scsi0-0-flat.vmdk"), capacity);
    await writeFile(join(folder, "scsi0-0.vmdk"), formatDescriptor(flat(capacity)));
    const { stdout } = await run(QEMU_IMG, ["info", "--output=json", join(folder, "scsi0-0.vmdk")]);
    const info: unknown = JSON.parse(stdout);
    t.match(info, { "virtual-size": capacity, format: "vmdk" });
    t.match(info, { "format-specific": { data: { "create-type": "monolithicFlat", cid: flat(capacity).cid } } });
    await run(QEMU_IMG, ["map", "--output=json", join(folder, "scsi0-0.vmdk")]);
  }
});
