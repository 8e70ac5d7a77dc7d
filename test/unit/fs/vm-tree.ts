import { execFile } from "node:child_process";
import { access, truncate, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import t from "tap";
import { parseCatalog } from "../../../src/catalog.js";
import { IntegrityError } from "../../../src/errors.js";
import { ExtentMap } from "../../../src/fs/block/extent-map.js";
import { ROOT_INODE } from "../../../src/fs/filesystem.js";
import type { ImageTree } from "../../../src/fs/image-tree.js";
import type { VmContents } from "../../../src/fs/vm-contents.js";
import { vmsTree, vmTree } from "../../../src/fs/vm-tree.js";
import { parseDescriptor } from "../../../src/image/vmdk/descriptor.js";
import { bytes, MIB } from "../../../src/units.js";
import { memorySource, patternBytes } from "../../fixtures/block/memory.js";
import { contents, disk, SNAPSHOT_TIME } from "../../fixtures/vm/contents.js";

const OWNER = { uid: 0, gid: 0, fileMode: 0o400 };
const { signal } = new AbortController();

function tree(own: Partial<VmContents> = {}): ImageTree {
  return vmTree({ ...contents(own), owner: OWNER });
}

async function fileText(of: ImageTree, name: string, directory = ROOT_INODE): Promise<string> {
  const attributes = of.lookup(directory, name);
  if (attributes === undefined) throw new Error(`there is no ${name}`);
  const into = new Uint8Array(attributes.size);
  await of.open(attributes.inode).read(into, bytes(0), { signal });
  return Buffer.from(into).toString();
}

void t.test("vmTree() shows manifest, configuration, descriptors and disks", async (t) => {
  const made = tree();
  t.strictSame(
    made.list(ROOT_INODE)?.map(({ name }) => name),
    ["catalog.json", "web01.vmx", "web01.nvram", "scsi0-0.vmdk", "scsi0-0-flat.vmdk"],
  );
  for (const { attributes } of made.list(ROOT_INODE) ?? []) {
    t.match(attributes, { timeMs: SNAPSHOT_TIME.getTime(), mode: 0o400, uid: 0, gid: 0 });
  }
  t.match(made.lookup(ROOT_INODE, "scsi0-0-flat.vmdk"), { size: MIB, allocated: MIB });
  t.equal(await fileText(made, "web01.vmx"), 'displayName = "web01"\n');
});

void t.test("vmTree() writes a catalog that says everything a restore needs", async (t) => {
  const map = await ExtentMap.collect(bytes(MIB), [
    { kind: "data", start: bytes(0), length: bytes(4096) },
    { kind: "hole", start: bytes(4096), length: bytes(MIB - 4096) },
  ]);
  const [opened] = contents().disks;
  const text = await fileText(
    tree({ disks: opened === undefined ? [] : [{ ...opened, extents: map }] }),
    "catalog.json",
  );
  const catalog = parseCatalog(text);
  t.match(catalog, {
    version: 1,
    writtenBy: /^vmmount \d/,
    server: { url: "https://vc.example.org:443" },
    vm: { ref: "vm-42", name: "web/01", biosUuid: null, configPath: "[ds1] web01/web01.vmx" },
    hardware: { version: "vmx-19", guestName: null, memoryBytes: 2 ** 31, networks: [{ network: null }] },
    snapshot: { createdAt: "2026-03-04T05:06:07.890Z", consistency: "quiesced" },
    configFiles: ["web01.vmx", "web01.nvram"],
    disks: [
      {
        key: "2000",
        included: true,
        file: "scsi0-0-flat.vmdk",
        descriptor: "scsi0-0.vmdk",
        provisioning: "thin",
        changeId: "52 de ad/7",
        transport: "https",
        allocatedBytes: 4096,
      },
      { key: "2001", included: false, reason: "independent disks are not part of a snapshot", provisioning: null },
    ],
  });
});

void t.test("inodes stay the same from snapshot to snapshot, and differ between VMs", (t) => {
  const first = tree();
  const snapshot = { ...contents().snapshot, ref: "snapshot-99", createdAt: new Date(SNAPSHOT_TIME.getTime() + 1e9) };
  const second = tree({ snapshot });
  const { vm } = contents();
  const clone = tree({ vm: { ...vm, identity: { ...vm.identity, instanceUuid: "other" } } });
  for (const { name, attributes } of first.list(ROOT_INODE) ?? []) {
    t.equal(second.lookup(ROOT_INODE, name)?.inode, attributes.inode, name);
    t.not(clone.lookup(ROOT_INODE, name)?.inode, attributes.inode, name);
    t.not(second.lookup(ROOT_INODE, name)?.timeMs, attributes.timeMs, name);
  }
  t.end();
});

void t.test("the descriptor names the flat file and follows the snapshot", async (t) => {
  const descriptor = parseDescriptor(await fileText(tree(), "scsi0-0.vmdk"));
  t.match(descriptor.extents, [{ access: "RW", sectors: 2048, type: "FLAT", name: "scsi0-0-flat.vmdk", offset: 0 }]);
  t.equal(descriptor.ddb.get("ddb.virtualHWVersion"), "19");
  t.equal(descriptor.ddb.get("ddb.adapterType"), "lsilogic");
  t.equal(
    parseDescriptor(await fileText(tree(), "scsi0-0.vmdk")).cid,
    descriptor.cid,
    "the same for the same snapshot",
  );
  const later = tree({ snapshot: { ...contents().snapshot, ref: "snapshot-99" } });
  t.not(parseDescriptor(await fileText(later, "scsi0-0.vmdk")).cid, descriptor.cid);
});

void t.test("the descriptor knows the adapters of hosted products", async (t) => {
  const cases = [
    [
      disk(0, { node: { bus: "ide", busNumber: 1, unit: 0 }, controllerModel: "VirtualIDEController" }),
      "ide1-0",
      "ide",
    ],
    [disk(0, { controllerModel: "VirtualBusLogicController" }), "scsi0-0", "buslogic"],
    [
      disk(0, { node: { bus: "nvme", busNumber: 0, unit: 3 }, controllerModel: "VirtualNVMEController" }),
      "nvme0-3",
      "lsilogic",
    ],
  ] as const;
  for (const [described, name, adapter] of cases) {
    const { vm } = contents();
    const made = tree({ vm: { ...vm, disks: [described], hardware: { ...vm.hardware, version: undefined } } });
    const { ddb } = parseDescriptor(await fileText(made, `${name}.vmdk`));
    t.equal(ddb.get("ddb.adapterType"), adapter);
    t.equal(ddb.get("ddb.virtualHWVersion"), "4");
    t.ok(made.lookup(ROOT_INODE, `${name}-flat.vmdk`));
  }
});

void t.test("refuses what would be an incomplete or wrong backup", (t) => {
  const [opened] = contents().disks;
  if (opened === undefined) throw new Error("the fixture has a disk");
  const { vm } = contents();
  const cases: [Partial<VmContents>, RegExp][] = [
    [{ disks: [] }, /Hard disk 1 was not opened/],
    [{ disks: [opened, { ...opened, key: "9999" }] }, /none with key 9999/],
    [
      { disks: [{ ...opened, source: memorySource(patternBytes(512)) }] },
      /opened with 512 bytes and described with 1048576/,
    ],
    [{ configFiles: [{ name: "scsi0-0.vmdk", bytes: new Uint8Array(1) }] }, /the name is taken/],
    [{ configFiles: [{ name: "../x", bytes: new Uint8Array(1) }] }, /slash/],
    [
      { vm: { ...vm, disks: [disk(0), disk(1, { node: disk(0).node })] }, disks: [opened, { ...opened, key: "2001" }] },
      /two|taken/,
    ],
  ];
  for (const [own, message] of cases) {
    t.throws(() => tree(own), IntegrityError);
    t.throws(() => tree(own), { message });
  }
  t.end();
});

void t.test("vmsTree() has a folder for each VM", async (t) => {
  const { vm } = contents();
  const other = contents({ vm: { ...vm, identity: { ...vm.identity, ref: "vm-7", instanceUuid: undefined } } });
  const made = vmsTree(
    [
      { folder: "web01", contents: contents() },
      { folder: "web02", contents: other },
    ],
    OWNER,
  );
  t.strictSame(
    made.list(ROOT_INODE)?.map(({ name }) => name),
    ["web01", "web02"],
  );
  t.equal(made.attributes(ROOT_INODE)?.timeMs, SNAPSHOT_TIME.getTime());
  const web02 = made.lookup(ROOT_INODE, "web02")?.inode ?? 0;
  t.equal(parseCatalog(await fileText(made, "catalog.json", web02)).vm.ref, "vm-7");
  t.equal(made.fileCount, 10);
  t.equal(vmsTree([], OWNER).attributes(ROOT_INODE)?.timeMs, 0);
});

void t.test("qemu-img takes the descriptor of the tree", async (t) => {
  const installed = await access("/usr/bin/qemu-img").then(
    () => true,
    () => false,
  );
  if (!installed) {
    t.comment("skipped: qemu-img is not installed");
    return;
  }
  const directory = t.testdir({});
  await writeFile(join(directory, "scsi0-0.vmdk"), await fileText(tree(), "scsi0-0.vmdk"));
  await writeFile(join(directory, "scsi0-0-flat.vmdk"), "");
  await truncate(join(directory, "scsi0-0-flat.vmdk"), MIB);
  const { stdout } = await promisify(execFile)("qemu-img", ["info", "--output=json", join(directory, "scsi0-0.vmdk")]);
  t.match(JSON.parse(stdout), { "virtual-size": MIB, format: "vmdk" });
});

void t.test("a Xen VM has raw images without descriptors, and the whole VM as one archive", async (t) => {
  const base = contents();
  const xvdb = disk(0, { key: "1", node: { bus: "xvd", busNumber: 0, unit: 1 }, label: "root" });
  const [opened] = base.disks;
  const archive = memorySource(patternBytes(4 * 512));
  const made = tree({
    server: { ...base.server, kind: "xen", url: "xen://pool.example.org" },
    vm: { ...base.vm, disks: [xvdb] },
    configFiles: [{ name: "ova.xml", bytes: Buffer.from("<value/>") }],
    archives: [{ format: "xva", name: "web01.xva", source: archive }],
    disks: opened === undefined ? [] : [{ ...opened, key: "1", transport: "nbd" }],
  });
  t.strictSame(
    made.list(ROOT_INODE)?.map(({ name }) => name),
    ["catalog.json", "ova.xml", "web01.xva", "xvdb.raw"],
  );
  t.match(made.lookup(ROOT_INODE, "web01.xva"), { size: 4 * 512 });
  const catalog = parseCatalog(await fileText(made, "catalog.json"));
  t.match(catalog, {
    server: { kind: "xen" },
    archives: ["web01.xva"],
    disks: [{ included: true, file: "xvdb.raw", descriptor: null, transport: "nbd" }],
  });
});
