import { execFileSync } from "node:child_process";
import { constants } from "node:fs";
import { chmod, mkdir, open, rename, rm, symlink, truncate, writeFile } from "node:fs/promises";
import { join } from "node:path";
import t, { type Test } from "tap";
import { dirUrl } from "../../../src/dir-url.js";
import { errorFacts } from "../../../src/errors.js";
import type { Hypervisor, OpenedDisk } from "../../../src/hypervisor.js";
import { openLocalFolder } from "../../../src/local/connect.js";
import { silentLogger } from "../../../src/log.js";
import { bytes } from "../../../src/units.js";
import { patternBytes } from "../../fixtures/block/memory.js";
import { hypervisorContract } from "../../fixtures/contract/hypervisor.js";
import { age } from "../../fixtures/host/vm-folder.js";
import { descriptor, diskEntries, writeFlatVm, writeVmx } from "../../fixtures/local/vm-files.js";
import { scratch } from "../../fixtures/scratch.js";

const { signal } = new AbortController();
const DISK_BYTES = 64 * 1024;
const BIOS_UUID = "564d1234-5678-9abc-def0-123456789abc";
const VC_UUID = "50111234-5678-9abc-def0-123456789abc";

const openFolder = (folder: string): Promise<Hypervisor> => openLocalFolder(dirUrl(folder), silentLogger());

async function failure(promise: Promise<unknown>): Promise<ReturnType<typeof errorFacts>> {
  return errorFacts(
    await promise.then(
      () => new Error("nothing was refused"),
      (error: unknown) => error,
    ),
  );
}

/** Opens the first disk of the VM at a path. */
async function openFirst(server: Hypervisor, path: string): Promise<OpenedDisk> {
  const [vm] = await server.findVms({ kind: "path", path: path.split("/").slice(1) }, { signal });
  if (vm === undefined) throw new Error(`there is no ${path}`);
  const [disk] = (await server.describeVm(vm.ref, { signal })).disks;
  return server.openDisk({ vm: vm.ref, snapshot: undefined, disk: disk! }, { signal });
}

/** As a thin disk has them, zeros are holes. */
async function writeThin(path: string, content: Uint8Array): Promise<void> {
  await using file = await open(path, constants.O_CREAT | constants.O_RDWR);
  await file.truncate(0);
  await file.truncate(content.length);
  for (let at = 0; at < content.length; at += 4096) {
    const block = content.subarray(at, at + 4096);
    if (block.some((byte) => byte !== 0)) await file.write(block, 0, block.length, at);
  }
}

void t.test("a folder of VMs keeps the contract of every hypervisor, but for what no folder has", async (t) => {
  const root = scratch(t);
  const folder = join(root, "prod", "web01");
  await writeFlatVm(folder, "web01", new Uint8Array(DISK_BYTES));
  const entries = { "uuid.bios": BIOS_UUID, "vc.uuid": VC_UUID, memSize: "512" };
  await writeVmx(folder, "web01", { ...entries, ...diskEntries("scsi0:0", "web01.vmdk") });
  await writeFile(join(folder, "web01.nvram"), "MRVN");
  await writeFlatVm(join(root, "other"), "other", new Uint8Array(512));
  await hypervisorContract(t, {
    connect: () => openFolder(root),
    lacks: {
      login: "nobody logs in to a folder",
      snapshots: "nothing runs the VM that could make one",
      moref: "files have no managed object ids",
      ipaddr: "files do not tell a guest's addresses",
      powerstate: "it can only be guessed",
    },
    connectWithWrongPassword: () => openFolder(root),
    vm: {
      name: "web01",
      path: "/prod/web01",
      biosUuid: BIOS_UUID,
      instanceUuid: VC_UUID,
      configPath: join(folder, "web01.vmx"),
      address: undefined,
      configFiles: ["web01.vmx", "web01.nvram"],
      configText: execFileSync("cat", [join(folder, "web01.vmx")], { encoding: "utf8" }),
      diskNode: "scsi0-0",
      diskSize: DISK_BYTES,
    },
    vmCount: 2,
    writeDisk: (content) => writeThin(join(folder, "web01-flat.vmdk"), content),
    knowsAllocation: true,
    expireSessions: () => Promise.resolve(),
  });
});

void t.test("a disk in one file is that file for the kernel, and one in several is none", async (t) => {
  const root = scratch(t);
  const content = patternBytes(3 * 512);
  await writeFlatVm(join(root, "a"), "a", content);
  await writeVmx(join(root, "b"), "b", diskEntries("ide0:0", "b.vmdk"));
  const extents = ['RW 1 FLAT "b-f001.vmdk" 0', "RW 2 ZERO", 'RW 1 FLAT "b-f002.vmdk" 1'];
  await writeFile(join(root, "b", "b.vmdk"), descriptor("twoGbMaxExtentFlat", extents));
  await writeFile(join(root, "b", "b-f001.vmdk"), content.subarray(0, 512));
  await writeFile(join(root, "b", "b-f002.vmdk"), content.subarray(512, 1536));
  await using server = await openFolder(root);
  await using one = (await openFirst(server, "/a")).source;
  t.match(one.localFile?.(), { offset: 0 });
  await using several = (await openFirst(server, "/b")).source;
  t.equal(several.localFile?.(), undefined);
  t.equal(several.size, 4 * 512);
  const into = new Uint8Array(4 * 512);
  await several.read(into, bytes(0), { signal });
  const zeros = new Uint8Array(1024);
  t.ok(Buffer.concat([content.subarray(0, 512), zeros, content.subarray(1024, 1536)]).equals(into));
});

void t.test("what is too short is refused when it is opened, and fails when it is cut off later", async (t) => {
  const root = scratch(t);
  await writeFlatVm(join(root, "a"), "a", patternBytes(4096));
  await using server = await openFolder(root);
  const opened = await openFirst(server, "/a");
  const flat = join(root, "a", "a-flat.vmdk");
  await truncate(flat, 2048);
  const cut = await failure(opened.source.read(new Uint8Array(4096), bytes(0), { signal }));
  t.match(cut, { kind: "IntegrityError", message: /a-flat\.vmdk": it was cut off/ });
  await opened.source[Symbol.asyncDispose]();
  const refused = await failure(openFirst(server, "/a"));
  t.match(refused, { kind: "IntegrityError", message: /a-flat\.vmdk": it has 2048 bytes, and .* at least 4096/ });
  await rm(flat);
  t.match(await failure(openFirst(server, "/a")), { kind: "NotFoundError", message: /a-flat\.vmdk/ });
});

void t.test("a missing or damaged file hides no other disk, and cannot be opened", async (t) => {
  const root = scratch(t);
  const folder = join(root, "vm");
  await writeFlatVm(folder, "whole", patternBytes(512));
  await writeFlatVm(folder, "cut", patternBytes(1024));
  await writeVmx(folder, "whole", {
    ...diskEntries("scsi0:0", "whole.vmdk"),
    ...diskEntries("scsi0:1", "gone.vmdk"),
    ...diskEntries("scsi0:2", "cut.vmdk"),
    ...diskEntries("scsi0:3", "odd.vmdk"),
  });
  await rm(join(folder, "cut.vmx"));
  await truncate(join(folder, "cut-flat.vmdk"), 512);
  await writeFile(join(folder, "odd.vmdk"), "<html>");
  await using server = await openFolder(root);
  const vm = "vm/whole.vmx";
  const { disks } = await server.describeVm(vm, { signal });
  t.match(disks, [
    { capacity: 512, excludedBecause: undefined },
    { capacity: 0, excludedBecause: undefined, unreadableBecause: /gone\.vmdk": there is no such file/ },
    { capacity: 1024, unreadableBecause: /cut-flat\.vmdk": it has 512 bytes/ },
    { capacity: 0, unreadableBecause: /odd\.vmdk": it is no VMDK descriptor/ },
  ]);
  t.equal(disks[0]!.unreadableBecause, undefined);
  for (const [index, kind] of ["NotFoundError", "IntegrityError", "IntegrityError"].entries()) {
    const disk = disks[index + 1]!;
    t.equal((await failure(server.openDisk({ vm, snapshot: undefined, disk }, { signal }))).kind, kind, disk.path);
  }
});

void t.test("a disk tells whether it was written since it was opened", async (t) => {
  const root = scratch(t);
  await writeFlatVm(join(root, "a"), "a", patternBytes(4096));
  const flat = join(root, "a", "a-flat.vmdk");
  await using server = await openFolder(root);
  const opened = await openFirst(server, "/a");
  await using source = opened.source;
  await source.read(new Uint8Array(4096), bytes(0), { signal });
  t.equal(await opened.writtenSince?.({ signal }), undefined, "reading is no writing");
  await chmod(flat, 0o640);
  t.equal(await opened.writtenSince?.({ signal }), undefined, "nor is a change of its rights");
  await writeThin(flat, patternBytes(4096));
  t.equal(await opened.writtenSince?.({ signal }), '"a-flat.vmdk" was written');
  const again = await openFirst(server, "/a");
  await using other = again.source;
  await rename(flat, `${flat}.old`);
  await writeFile(flat, new Uint8Array(4096));
  t.equal(await again.writtenSince?.({ signal }), undefined, "a new file in its place is not the one that is read");
  await truncate(`${flat}.old`, 0);
  t.equal(await again.writtenSince?.({ signal }), '"a-flat.vmdk" was written');
  t.equal(other.size, 4096);
});

void t.test("formats that cannot be read yet are named with the disk", async (t) => {
  const root = scratch(t);
  const sparse = Buffer.alloc(1024);
  sparse.write("KDMV", "latin1");
  sparse.writeBigUInt64LE(8n, 12);
  sparse.write('createType="streamOptimized"\n', 512);
  const delta = descriptor("vmfsSparse", ['RW 8 VMFSSPARSE "d-delta.vmdk"']).replace(
    "parentCID=ffffffff",
    'parentCID=12345678\nparentFileNameHint="base.vmdk"',
  );
  const cases = [
    ["sparse", sparse, /"Hard disk 1" \(scsi0-0\).*a hosted sparse image \(streamOptimized\)/],
    ["split", descriptor("twoGbMaxExtentSparse", ['RW 8 SPARSE "x-s001.vmdk"']), /a twoGbMaxExtentSparse image/],
    ["delta", delta, /a delta of a snapshot \(vmfsSparse\)/],
  ] as const;
  await using server = await openFolder(root);
  for (const [name, content, message] of cases) {
    await writeVmx(join(root, name), name, diskEntries("scsi0:0", `${name}.vmdk`));
    await writeFile(join(root, name, `${name}.vmdk`), content);
    t.match(await failure(openFirst(server, `/${name}`)), { kind: "MissingCapabilityError", message }, name);
    const { disks } = await server.describeVm(`${name}/${name}.vmx`, { signal });
    t.match(disks, [{ capacity: 4096, unreadableBecause: /^its file is a / }], `${name} can be listed`);
  }
  await writeVmx(join(root, "secret"), "secret", { "encryption.keySafe": "x" });
  const encrypted = await failure(server.describeVm("secret/secret.vmx", { signal }));
  t.match(encrypted, { kind: "MissingCapabilityError", message: /is encrypted/ });
});

async function linkedFolder(t: Test): Promise<{ root: string; outside: string }> {
  const directory = scratch(t);
  const [root, outside] = [join(directory, "root"), join(directory, "outside")];
  await writeFlatVm(outside, "secret", patternBytes(512));
  await mkdir(root);
  return { root, outside };
}

void t.test("no link and no path leads out of the folder", async (t) => {
  const { root, outside } = await linkedFolder(t);
  await symlink(outside, join(root, "linked"));
  await using server = await openFolder(root);
  t.strictSame(await server.browse("/", { signal }), [], "a linked folder is not shown");
  t.strictSame(await server.findVms({ kind: "any" }, { signal }), []);
  t.equal((await failure(server.browse("/..", { signal }))).kind, "NotFoundError");
  t.not((await failure(server.browse("/linked", { signal }))).kind, "Error");
  const vmx = await failure(server.findVms({ kind: "vmx", path: join(outside, "secret.vmx") }, { signal }));
  t.equal(vmx.kind, "UsageError");

  for (const [name, fileName] of [
    ["absolute", join(outside, "secret.vmdk")],
    ["relative", "../../outside/secret.vmdk"],
  ] as const) {
    await writeVmx(join(root, name), name, diskEntries("scsi0:0", fileName));
    const { disks } = await server.describeVm(`${name}/${name}.vmx`, { signal });
    t.match(disks[0]?.excludedBecause, /lies outside of the folder/, name);
  }
  await writeVmx(join(root, "through"), "through", diskEntries("scsi0:0", "../linked/secret.vmdk"));
  const [through] = (await server.describeVm("through/through.vmx", { signal })).disks;
  t.match(through, { capacity: 0, unreadableBecause: /leads out of the folder/ });
  t.match(await failure(openFirst(server, "/through")), { kind: "RefusedError", message: /leads out of the folder/ });
  await writeFlatVm(join(root, "flat"), "flat", patternBytes(512));
  await rename(join(root, "flat", "flat-flat.vmdk"), join(root, "kept"));
  await symlink(join(outside, "secret-flat.vmdk"), join(root, "flat", "flat-flat.vmdk"));
  t.match(await failure(openFirst(server, "/flat")), { kind: "RefusedError", message: /symbolic link/ });
  await rm(join(root, "flat", "flat-flat.vmdk"));
  execFileSync("mkfifo", [join(root, "flat", "flat-flat.vmdk")]);
  t.match(await failure(openFirst(server, "/flat")), { kind: "RefusedError", message: /no regular file/ });
});

void t.test("an absolute path inside the folder is read, also by the name the folder was given", async (t) => {
  const { root } = await linkedFolder(t);
  await writeFlatVm(join(root, "disks"), "d", patternBytes(512));
  await rm(join(root, "disks", "d.vmx"));
  const alias = `${root}-alias`;
  await symlink(root, alias);
  await writeVmx(join(root, "vm"), "vm", diskEntries("nvme0:0", join(alias, "disks", "d.vmdk")));
  await using server = await openFolder(alias);
  const { source } = await openFirst(server, "/vm");
  t.equal(source.size, 512);
  await source[Symbol.asyncDispose]();
});

void t.test("hostile and awkward names are names like any other", async (t) => {
  const root = scratch(t);
  const names = ["100%25", "a\nb\u001b[31m", `'"$(x)`, "-rf", "é😀", "x\\y"];
  for (const name of names) await writeFlatVm(join(root, name), "vm", patternBytes(512));
  await mkdir(join(root, ".hidden"));
  await writeFlatVm(join(root, ".hidden", "vm"), "vm", patternBytes(512));
  await writeFile(join(root, "file.txt"), "no VM");
  await using server = await openFolder(root);
  const found = await server.findVms({ kind: "any" }, { signal });
  t.strictSame(found.map(({ ref }) => ref).sort(), names.map((name) => `${name}/vm.vmx`).sort());
  for (const { ref, path } of found) {
    t.equal((await server.browse(path, { signal }))[0]?.vm?.ref, ref, JSON.stringify(path));
    t.equal((await server.describeVm(ref, { signal })).disks.length, 1);
  }
});

void t.test("several VMs may share a folder; a damaged .vmx hides no other VM; depth is bounded", async (t) => {
  const root = scratch(t);
  await writeFlatVm(root, "one", patternBytes(512));
  await writeFlatVm(join(root, "two"), "a", patternBytes(512));
  await writeVmx(join(root, "two"), "b", { displayname: "contradiction" });
  const deep = join(root, ...new Array<string>(12).fill("deep"));
  await writeFlatVm(deep, "deep", patternBytes(512));
  await using server = await openFolder(root);
  const found = await server.findVms({ kind: "any" }, { signal });
  t.strictSame(
    found.map(({ path, name }) => [path, name]),
    [
      ["/one.vmx", "one"],
      ["/two/a.vmx", "a"],
      ["/two/b.vmx", "b"],
    ],
  );
  t.match(await server.browse("/two", { signal }), [{ path: "/two/a.vmx" }, { path: "/two/b.vmx" }]);
  t.match(await failure(server.describeVm("two/b.vmx", { signal })), { kind: "IntegrityError", message: /twice/ });
});

void t.test("devices that are no disk files, and what is not plugged in", async (t) => {
  const root = scratch(t);
  await writeFlatVm(join(root, "vm"), "vm", patternBytes(512));
  await writeFile(join(root, "vm", "raw.vmdk"), descriptor("fullDevice", ['RW 8 FLAT "/dev/sda" 0']));
  await writeVmx(join(root, "vm"), "vm", {
    ...diskEntries("scsi0:0", "vm.vmdk"),
    "scsi0:0.mode": "independent-persistent",
    "scsi0.virtualDev": "pvscsi",
    ...diskEntries("ide1:0", "auto detect"),
    "ide1:0.deviceType": "cdrom-raw",
    ...diskEntries("scsi0:1", "raw.vmdk"),
    "scsi0:2.fileName": "absent.vmdk",
    "scsi0:2.present": "FALSE",
    "sata0.present": "FALSE",
    ...diskEntries("sata0:0", "absent.vmdk"),
    "ethernet0.present": "TRUE",
    "ethernet0.virtualDev": "vmxnet3",
    "ethernet0.generatedAddress": "00:0c:29:00:00:01",
  });
  await using server = await openFolder(root);
  const { disks, hardware } = await server.describeVm("vm/vm.vmx", { signal });
  t.match(disks, [
    {
      key: "scsi0:0",
      mode: "independent_persistent",
      controllerModel: "ParaVirtualSCSIController",
      excludedBecause: undefined,
    },
    { key: "scsi0:1", excludedBecause: /raw device/ },
    { key: "sata0:0", excludedBecause: /controller is switched off/ },
  ]);
  t.equal(disks.length, 3);
  t.match(hardware.networks, [{ model: "VirtualVmxnet3", mac: "00:0c:29:00:00:01" }]);
});

void t.test("signs of a running VM", async (t) => {
  const root = scratch(t);
  await writeFlatVm(join(root, "vm"), "vm", patternBytes(512));
  await using server = await openFolder(root);
  const look = async (): Promise<{ powerState: string; signs: readonly string[] | undefined }> => {
    const { identity, runningSigns } = await server.describeVm("vm/vm.vmx", { signal });
    return { powerState: identity.powerState, signs: runningSigns };
  };
  t.match((await look()).signs, [/"vm-flat\.vmdk" was written \d+ s ago/]);
  await age(root);
  t.strictSame(await look(), { powerState: "off", signs: [] });
  for (const name of ["vm.vmdk.lck", ".lck-0123456789abcdef", "vm-1a2b.vswp", "vm.vmem"]) {
    await writeFile(join(root, "vm", name), "");
    const { powerState, signs } = await look();
    t.equal(powerState, "on", name);
    t.ok(signs?.[0]?.includes(name), name);
    await rm(join(root, "vm", name));
  }
  for (const name of ["vm.vmem", "vm.vmss"]) await writeFile(join(root, "vm", name), "");
  t.strictSame(await look(), { powerState: "suspended", signs: [] }, "a suspended VM keeps its memory file");
  await rm(join(root, "vm", "vm.vmss"));
  await rename(join(root, "vm", "vm.vmem"), join(root, "vm", "vm-Snapshot1.vmem"));
  t.strictSame(await look(), { powerState: "off", signs: [] }, "so does a snapshot");
});

void t.test("a folder that is not there or is a file", async (t) => {
  const root = scratch(t);
  await writeFile(join(root, "file"), "");
  for (const name of ["none", "file"]) t.equal((await failure(openFolder(join(root, name)))).kind, "NotFoundError");
});
