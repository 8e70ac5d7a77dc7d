import { randomBytes } from "node:crypto";
import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import t, { type Test } from "tap";
import type { VmIdentity } from "../../src/hypervisor.js";
import type { SessionStatus } from "../../src/mount/control-protocol.js";
import { run } from "../fixtures/host/command-line.js";
import { NOTHING_LEFT, ProxyHost } from "../fixtures/host/proxy-host.js";
import { buildVcsim, startVcsim, type Vcsim } from "../fixtures/vsphere/vcsim.js";

/** The size that the simulator gives every disk. */
const CAPACITY = 1024 * 1024;

const built = buildVcsim();
const skip = "missing" in built ? `VMware's simulator is not here: ${built.missing}` : false;
const program = "program" in built ? built.program : "";

async function hostOf(t: Test, vcsim: Vcsim): Promise<ProxyHost> {
  const directory = await mkdtemp(join(tmpdir(), "vmm-pw-"));
  t.teardown(() => rm(directory, { recursive: true, force: true }));
  const passwordPath = join(directory, "password");
  await writeFile(passwordPath, vcsim.password, { mode: 0o600 });
  return ProxyHost.make(t, { ...vcsim, passwordPath });
}

/** The simulator makes empty files: gives a VM's disk a descriptor and random bytes. */
async function fillDisk(vcsim: Vcsim, vm: string): Promise<Buffer> {
  const folder = join(vcsim.datastore, vm);
  const content = randomBytes(CAPACITY);
  await writeFile(join(folder, "disk1-flat.vmdk"), content);
  await writeFile(
    join(folder, "disk1.vmdk"),
    `# Disk DescriptorFile
version=1
CID=12345678
parentCID=ffffffff
createType="vmfs"

RW ${CAPACITY / 512} VMFS "disk1-flat.vmdk"

ddb.adapterType = "lsilogic"
`,
  );
  await writeFile(join(folder, `${vm}.vmx`), `displayName = "${vm}"\n`);
  return content;
}

async function mainJob(t: Test, vcsim: Vcsim): Promise<void> {
  const host = await hostOf(t, vcsim);
  const { vms } = await host.json<{ vms: VmIdentity[] }>(["find", "any:"]);
  const vm = vms[0];
  if (vm === undefined) throw new Error("The simulator shows no VM");
  t.ok(vms.length >= 2, "several VMs are there");
  const content = await fillDisk(vcsim, vm.name);

  const datacenter = vm.path.split("/").slice(0, 2).join("/");
  t.match((await host.vmmount(["ls"])).stdout, datacenter);
  t.match((await host.vmmount(["ls", datacenter])).stdout, vm.path);
  t.match((await host.vmmount(["ls", vm.path])).stdout, /disk1\.vmdk .* yes/);
  const locators = [vm.path, `name:${vm.name}`, `moref:${vm.ref}`, `glob:${vm.name}`];
  if (vm.biosUuid !== undefined) locators.push(`uuid:${vm.biosUuid}`);
  if (vm.instanceUuid !== undefined) locators.push(`instanceuuid:${vm.instanceUuid}`);
  for (const locator of locators) {
    const found = await host.json<{ vms: VmIdentity[] }>(["find", locator]);
    t.strictSame(
      found.vms.map(({ ref }) => ref),
      [vm.ref],
      locator,
    );
  }
  t.comment("ipaddr: is not asked here: the simulator's guests report no address");

  const status = await host.json<SessionStatus>(["mount", vm.path, host.mountPoint]);
  t.equal(status.snapshot.consistency, "crash", "the simulator's guests have no tools");
  const listed = await host.json<{ snapshots: { name: string; owner: string }[] }>(["snapshot", "list", vm.path]);
  t.match(listed.snapshots, [{ name: `vmmount-${status.session}`, owner: "mounted" }]);
  const copies = join(host.directory, "copies");
  await mkdir(copies);
  const [disk] = status.disks;
  const image = `${disk?.node ?? ""}-flat.vmdk`;
  t.equal((await run("cp", ["--sparse=always", join(host.mountPoint, image), join(copies, "by-cp")])).code, 0);
  const tar = await run("sh", ["-c", 'tar -C "$0" -Scf - . | tar -C "$1" -xf -', host.mountPoint, copies]);
  t.equal(tar.code, 0, tar.stderr);
  for (const copy of ["by-cp", image]) {
    t.equal(Buffer.compare(await readFile(join(copies, copy)), content), 0, `${copy} is identical`);
  }
  t.match(await readFile(join(copies, `${vm.name}.vmx`), "utf8"), vm.name);
  const umount = await host.vmmount(["umount", host.mountPoint]);
  t.equal(umount.code, 0, umount.stderr);
  const after = await host.json<{ snapshots: unknown[] }>(["snapshot", "list", "any:"]);
  t.same(after.snapshots, []);
  t.same(await host.leftovers(), NOTHING_LEFT);
}

void t.test("the main job against VMware's own simulator of a vCenter", { skip }, async (t) => {
  await using vcsim = await startVcsim(program);
  await mainJob(t, vcsim);
});

void t.test("the main job against VMware's own simulator of an ESXi host", { skip }, async (t) => {
  await using vcsim = await startVcsim(program, ["-esx"]);
  await mainJob(t, vcsim);
});

void t.test("a session that expires during the mount does not keep the snapshot", { skip }, async (t) => {
  const idleMs = 1000;
  await using vcsim = await startVcsim(program, ["-idle", `${idleMs}ms`]);
  const host = await hostOf(t, vcsim);
  await fillDisk(vcsim, "DC0_H0_VM0");
  await host.json(["mount", "/DC0/DC0_H0_VM0", host.mountPoint]);
  // The simulator ends a session after real time; nothing else tells when.
  await delay(3 * idleMs);
  const umount = await host.vmmount(["umount", host.mountPoint]);
  t.equal(umount.code, 0, umount.stderr);
  const after = await host.json<{ snapshots: unknown[] }>(["snapshot", "list", "any:"]);
  t.same(after.snapshots, []);
  t.same(await host.leftovers(), NOTHING_LEFT);
});
