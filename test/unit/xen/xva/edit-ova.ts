import t from "tap";
import { bytes, GIB } from "../../../../src/units.js";
import { type ApiObject, buildOva } from "../../../../src/xen/xva/build-ova.js";
import { editOva, type OvaEdits } from "../../../../src/xen/xva/edit-ova.js";
import { expectedDisks } from "../../../../src/xen/xva/expected-disks.js";
import { field, formatOva, type Ova, parseOva } from "../../../../src/xen/xva/ova.js";
import { rpcStruct, rpcText } from "../../../../src/xen/xva/rpc-value.js";
import { type PlainRecord, readRpcText } from "../../../fixtures/xen/rpc-text.js";
import { SNAPSHOT_UUID, snapshotRecords, VM_UUID, WRITER } from "../../../fixtures/xen/vm-records.js";

const MEBIBYTE = 1024 * 1024;
const EDITS: OvaEdits = { uuid: SNAPSHOT_UUID, asUuid: VM_UUID, name: "web", disks: [] };

interface Plain {
  readonly version: PlainRecord;
  readonly objects: readonly { readonly class: string; readonly id: string; readonly snapshot: PlainRecord }[];
}

function plain(ova: Ova): Plain {
  return readRpcText(Buffer.from(formatOva(ova)).toString()) as unknown as Plain;
}

function records(sizes: readonly number[]): ReturnType<typeof snapshotRecords> {
  return snapshotRecords(sizes.map((size, index) => ({ userdevice: String(index), size })));
}

const disk = (device: number, size: number) => ({ userdevice: String(device), size: bytes(size) });

void t.test("a snapshot becomes a VM that is shut down", (t) => {
  const built = buildOva(WRITER, records([4 * MEBIBYTE, 1000]));
  const disks = [{ ...disk(0, 4 * MEBIBYTE), name: "Disk 0" }, disk(1, 1000)];
  const edited = editOva(built, { ...EDITS, disks });
  t.strictSame(edited.disks, [
    { userdevice: "0", id: "Ref:0007", size: 4 * MEBIBYTE },
    { userdevice: "1", id: "Ref:0008", size: 1024 },
  ]);
  t.strictSame(
    expectedDisks(edited.ova),
    edited.disks.map(({ id, size }) => ({ id, size })),
  );
  const { objects, version } = plain(edited.ova);
  t.strictSame(
    objects.map((object) => `${object.class} ${object.id}`),
    ["VM 1", "VBD 2", "VBD 3", "VBD 4", "VIF 5", "network 6", "VDI 7", "VDI 8", "SR 9"].map((one) =>
      one.replace(" ", " Ref:000"),
    ),
  );
  const [vm, , , cd, vif, network, vdi, , sr] = objects.map(({ snapshot }) => snapshot);
  t.match(vm, {
    uuid: VM_UUID,
    name_label: "web",
    is_a_template: false,
    is_a_snapshot: false,
    snapshot_of: "OpaqueRef:NULL",
    snapshot_time: "19700101T00:00:00Z",
    snapshot_info: {},
    parent: "OpaqueRef:NULL",
    resident_on: "OpaqueRef:NULL",
    VBDs: ["Ref:0002", "Ref:0003", "Ref:0004"],
    VIFs: ["Ref:0005"],
    VTPMs: [],
    consoles: [],
    tags: ["Ref:7", "backup"],
    a_field_of_the_future: "kept",
    HVM_shadow_multiplier: "1",
    other_config: { mac_seed: "0e0e0e0e-1111-4222-8333-444444444444", "looks like a reference": "OpaqueRef:vm" },
    domid: "-1",
  });
  t.match(cd, { type: "CD", VDI: "OpaqueRef:NULL", empty: true, VM: "Ref:0001" });
  t.match(vif, { VM: "Ref:0001", network: "Ref:0006", MAC: "00:16:3e:01:02:03", currently_attached: false });
  t.match(network, { VIFs: ["Ref:0005"], PIFs: [] });
  t.match(vdi, {
    name_label: "Disk 0",
    SR: "Ref:0009",
    VBDs: ["Ref:0002"],
    sm_config: {},
    is_a_snapshot: false,
    read_only: false,
    managed: true,
  });
  t.strictSame(sr?.["VDIs"], ["Ref:0007"]);
  t.match(version, { xapi_major: "1", xapi_minor: "20", export_vsn: "2", hostname: "xen1" });
  t.notOk(Buffer.from(formatOva(edited.ova)).includes("secret"));
  t.end();
});

void t.test("editing twice, or through bytes, gives the same bytes", (t) => {
  const disks = [disk(0, MEBIBYTE), disk(1, MEBIBYTE)];
  const objects = records([MEBIBYTE, MEBIBYTE]);
  const one = formatOva(editOva(buildOva(WRITER, objects), { ...EDITS, disks }).ova);
  // Hosts write objects and sets in any order.
  const other = formatOva(editOva(buildOva(WRITER, [...objects].reverse()), { ...EDITS, disks }).ova);
  t.equal(Buffer.compare(one, other), 0);
  const again = editOva(parseOva(one), { ...EDITS, uuid: VM_UUID, disks });
  t.equal(Buffer.compare(formatOva(again.ova), one), 0);
  t.end();
});

void t.test("what changes while a snapshot does not is not told, nor what vmmount notes down for itself", (t) => {
  const disks = [disk(0, MEBIBYTE)];
  const withMore = (more: Readonly<Record<string, ApiObject["record"]>>): Uint8Array => {
    const objects = records([MEBIBYTE]).map((object) => ({
      ...object,
      record: { ...object.record, ...more[object.class] },
    }));
    return formatOva(editOva(buildOva(WRITER, objects), { ...EDITS, disks }).ova);
  };
  const inUse = (used: string, ip: string): Uint8Array =>
    withMore({
      VDI: { physical_utilisation: used },
      SR: { physical_utilisation: used, virtual_allocation: used, physical_size: `${used}0` },
      network: { assigned_ips: { "OpaqueRef:vif": ip } },
    });
  t.equal(Buffer.from(inUse("5", "10.0.0.1")).toString(), Buffer.from(inUse("7000", "10.0.0.10")).toString());
  t.match(Buffer.from(withMore({})).toString(), /<name>mac_seed</);
  const disk0 = withMore({ VDI: { other_config: { "vmmount-removing": "{}" } } });
  t.equal(Buffer.from(disk0).toString(), Buffer.from(withMore({})).toString());
  const vm = withMore({ VM: { other_config: { "vmmount-start-again": "2026-01-02T03:04:05Z", kept: "yes" } } });
  t.notMatch(Buffer.from(vm).toString(), /vmmount-start-again/);
  t.match(Buffer.from(vm).toString(), /<name>kept<\/name>/);
  t.end();
});

void t.test("ids have one length, in the order of the devices", (t) => {
  const sizes = Array.from({ length: 12 }, () => MEBIBYTE);
  const disks = sizes.map((size, index) => disk(index, size));
  const edited = editOva(buildOva(WRITER, records(sizes)), { ...EDITS, disks });
  t.strictSame(
    edited.disks.map(({ userdevice }) => userdevice),
    disks.map(({ userdevice }) => userdevice),
  );
  const ids = edited.disks.map(({ id }) => id);
  t.strictSame([...ids].sort(), ids);
  t.equal(new Set(ids.map((id) => id.length)).size, 1);
  t.end();
});

void t.test("disks that the archive does not hold leave the VM, and none is missed", (t) => {
  const built = buildOva(WRITER, records([MEBIBYTE, MEBIBYTE, MEBIBYTE]));
  const edited = editOva(built, { ...EDITS, disks: [disk(1, MEBIBYTE)] });
  t.strictSame(
    plain(edited.ova)
      .objects.filter((object) => object.class === "VDI")
      .map(({ snapshot }) => snapshot["uuid"]),
    ["vdi-1"],
  );
  t.throws(() => editOva(built, { ...EDITS, disks: [disk(9, 1)] }), { message: /no disk at device 9/ });
  t.throws(() => editOva(built, { ...EDITS, uuid: "nobody" }), { message: /no VM with the uuid nobody/ });
  t.end();
});

void t.test("empty drives, suspended memory, other VMs and discs are handled as an importer needs it", (t) => {
  const objects = records([MEBIBYTE]);
  const built = buildOva(WRITER, [
    ...objects,
    { class: "SR", ref: "OpaqueRef:isos", record: { uuid: "isos", content_type: "iso", type: "iso" } },
    {
      class: "VDI",
      ref: "OpaqueRef:iso",
      record: { uuid: "iso", SR: "OpaqueRef:isos", virtual_size: "5", location: "a.iso" },
    },
    {
      class: "VBD",
      ref: "OpaqueRef:discVbd",
      record: { uuid: "d", VM: "OpaqueRef:snapshot", VDI: "OpaqueRef:iso", userdevice: "50", type: "CD", empty: false },
    },
    {
      class: "VBD",
      ref: "OpaqueRef:oddDiscVbd",
      record: {
        uuid: "o",
        VM: "OpaqueRef:snapshot",
        VDI: "OpaqueRef:other",
        userdevice: "51",
        type: "CD",
        empty: false,
      },
    },
    { class: "VDI", ref: "OpaqueRef:other", record: { uuid: "other", SR: "OpaqueRef:sr", virtual_size: "5" } },
    {
      class: "VBD",
      ref: "OpaqueRef:emptyVbd",
      record: {
        uuid: "e",
        VM: "OpaqueRef:snapshot",
        VDI: "OpaqueRef:NULL",
        userdevice: "8",
        type: "Disk",
        empty: true,
      },
    },
    {
      class: "VDI",
      ref: "OpaqueRef:memory",
      record: { uuid: "m", SR: "OpaqueRef:sr", type: "suspend", virtual_size: "9" },
    },
    { class: "VM", ref: "OpaqueRef:older", record: { uuid: "older" } },
  ]);
  const edited = editOva(built, { ...EDITS, disks: [disk(0, MEBIBYTE)] });
  t.equal(expectedDisks(edited.ova).length, 1);
  const { objects: shown } = plain(edited.ova);
  const of = (name: string) => shown.filter((object) => object.class === name).map(({ snapshot }) => snapshot);
  t.strictSame(
    of("VBD").map(({ userdevice, empty, type }) => [userdevice, empty, type]),
    [
      ["0", false, "Disk"],
      ["50", false, "CD"],
      ["51", true, "CD"],
      ["101", true, "CD"],
    ],
  );
  t.strictSame(
    of("VDI").map(({ uuid }) => uuid),
    ["vdi-0", "iso"],
  );
  t.equal(of("VM").length, 1);
  t.equal(of("SR").length, 2);
  t.end();
});

void t.test("the version can be lowered and is never raised", (t) => {
  const disks = [disk(0, MEBIBYTE)];
  const version = (xapi: { major: number; minor: number }, xapiMax?: { major: number; minor: number }) => {
    const built = buildOva({ ...WRITER, xapi }, records([MEBIBYTE]));
    const { xapi_major, xapi_minor } = plain(editOva(built, { ...EDITS, disks, xapiMax }).ova).version;
    return [xapi_major, xapi_minor];
  };
  t.strictSame(version({ major: 24, minor: 39 }), ["24", "39"]);
  t.strictSame(version({ major: 24, minor: 39 }, { major: 1, minor: 20 }), ["1", "20"]);
  t.strictSame(version({ major: 1, minor: 20 }, { major: 1, minor: 9 }), ["1", "9"]);
  t.strictSame(version({ major: 1, minor: 9 }, { major: 1, minor: 20 }), ["1", "9"]);
  const built = buildOva(WRITER, records([MEBIBYTE]));
  const nameless = { ...built, version: rpcStruct([["hostname", rpcText("x")]]) };
  t.throws(() => editOva(nameless, { ...EDITS, disks }), { message: /which version of XAPI/ });
  t.end();
});

void t.test("a store is told of qcow2 only where nothing else would do", (t) => {
  const settings = (size: number) => {
    const built = buildOva(
      WRITER,
      records([size]).map((object) =>
        object.class === "VDI"
          ? { ...object, record: { ...object.record, sm_config: { "image-format": "qcow2", vdi_type: "x" } } }
          : object,
      ),
    );
    const edited = editOva(built, { ...EDITS, disks: [disk(0, size)] });
    return plain(edited.ova).objects.find((object) => object.class === "VDI")?.snapshot["sm_config"];
  };
  t.strictSame(settings(2041 * GIB), { "image-format": "qcow2" });
  t.strictSame(settings(2040 * GIB), {});
  t.end();
});

void t.test("objects that are none, and ids that are no keys, are refused", (t) => {
  const xml = (objects: string): Uint8Array =>
    Buffer.from(
      `<value><struct><member><name>version</name><value><struct/></value></member>` +
        `<member><name>objects</name><value><array><data>${objects}</data></array></value></member></struct></value>`,
    );
  const object =
    "<value><struct><member><name>class</name><value>VM</value></member><member><name>id</name><value>Ref:1</value></member>" +
    "<member><name>snapshot</name><value><struct/></value></member></struct></value>";
  t.equal(parseOva(xml(object)).objects.length, 1);
  t.equal(field(parseOva(xml(object)).objects[0]!, "uuid"), undefined);
  t.throws(() => parseOva(xml(object + object)), { message: /two objects have the id "Ref:1"/ });
  t.throws(() => parseOva(xml("<value>1</value>")), { message: /no class, id and record/ });
  t.throws(() => parseOva(Buffer.from("<value>1</value>")), { message: /no version and objects/ });
  t.throws(() => parseOva(Buffer.from("<value><struct/></value>")), { message: /no version and objects/ });
  t.end();
});
