import { randomBytes } from "node:crypto";
import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import t, { type Test } from "tap";
import type { Catalog } from "../../src/catalog.js";
import type { VmIdentity } from "../../src/hypervisor.js";
import type { SessionStatus } from "../../src/mount/control-protocol.js";
import { run } from "../fixtures/host/command-line.js";
import { NOTHING_LEFT, ProxyHost } from "../fixtures/host/proxy-host.js";
import { RawSoap } from "../fixtures/vsphere/raw-soap.js";
import { startVcsim, type Vcsim, withVcsim } from "../fixtures/vsphere/vcsim.js";
import { DISK_BYTES, ESXI_HOST, furnish, NVRAM, VCENTER, VMX, writeDisk } from "../fixtures/vsphere/vcsim-vm.js";

/** The whole main job, with the program that users run, against VMware's own simulator. */

interface Variant {
  readonly args: readonly string[];
  readonly name: string;
  readonly path: string;
  /** What `ls` of the VM's folder shows. */
  readonly folder: string;
}

const VARIANTS: Readonly<Record<string, Variant>> = {
  vCenter: { ...VCENTER, folder: "/DC0" },
  "ESXi host": { ...ESXI_HOST, folder: "/ha-datacenter" },
};

await withVcsim(t, async (program) => {
  for (const [name, variant] of Object.entries(VARIANTS)) {
    await t.test(name, (t) => mainJob(t, program, variant));
  }
  await t.test("a session that the server ends in mid-mount", (t) => idleSession(t, program));
});

/** Writes a VM's configuration and random bytes as its disk. @returns the bytes */
async function furnishWithDisk(vcsim: Vcsim, vm: string): Promise<Buffer> {
  const content = randomBytes(DISK_BYTES);
  await furnish(vcsim, vm);
  await writeDisk(vcsim, vm, content);
  return content;
}

async function hostFor(t: Test, vcsim: Vcsim): Promise<ProxyHost> {
  const folder = await mkdtemp(join(tmpdir(), "vmm-vcsim-"));
  t.teardown(() => rm(folder, { recursive: true }));
  const passwordPath = join(folder, "password");
  await writeFile(passwordPath, `${vcsim.password}\n`, { mode: 0o600 });
  const { url, user, fingerprint } = vcsim;
  return ProxyHost.make(t, { url, user, fingerprint, passwordPath });
}

async function mainJob(t: Test, program: string, { args, name, path, folder }: Variant): Promise<void> {
  await using vcsim = await startVcsim(program, args);
  const content = await furnishWithDisk(vcsim, name);
  const host = await hostFor(t, vcsim);
  const admin = await RawSoap.loggedIn(vcsim);

  await t.test("ls and find", (t) => browse(t, host, path, folder));

  await t.test("mount, copy, umount", async (t) => {
    const status = await host.json<SessionStatus>(["mount", path, host.mountPoint]);
    t.equal(status.vm.path, path);
    t.equal(status.snapshot.consistency, "crash", "the simulator's guests have no tools");
    const copies = join(host.directory, "copies");
    await mkdir(copies);
    const cp = await run("cp", ["-r", "--sparse=always", host.mountPoint, join(copies, "cp")]);
    t.equal(cp.code, 0, cp.stderr);
    t.ok(content.equals(await readFile(join(copies, "cp/scsi0-0-flat.vmdk"))), "cp has the bytes");
    t.equal(await readFile(join(copies, `cp/${name}.vmx`), "utf8"), VMX);
    t.equal(await readFile(join(copies, "cp/machine.nvram"), "utf8"), NVRAM);

    const archive = join(copies, "vm.tar");
    const tar = await run("tar", ["-C", host.mountPoint, "-Scf", archive, "."]);
    t.equal(tar.code, 0, tar.stderr);
    await mkdir(join(copies, "tar"));
    t.equal((await run("tar", ["-C", join(copies, "tar"), "-xf", archive])).code, 0);
    t.ok(content.equals(await readFile(join(copies, "tar/scsi0-0-flat.vmdk"))), "tar has the bytes");
    const catalog = JSON.parse(await readFile(join(copies, "tar/catalog.json"), "utf8")) as Catalog;
    t.match(catalog, { vm: { path }, disks: [{ included: true, file: "scsi0-0-flat.vmdk", transport: "https" }] });

    const { sessions } = await host.json<{ sessions: SessionStatus[] }>(["status"]);
    t.match(sessions, [{ alive: true, session: status.session, state: "serving" }]);
    const listed = await host.json<{ snapshots: { name: string; owner: string }[] }>(["snapshot", "list", path]);
    t.match(listed.snapshots, [{ name: `vmmount-${status.session}`, owner: "mounted" }]);
    const umount = await host.vmmount(["umount", host.mountPoint]);
    t.equal(umount.code, 0, umount.stderr);
    await nothingInSimulator(t, host, admin);
  });

  await t.test("a killed daemon is cleaned up after", async (t) => {
    // The simulator deletes a disk's descriptor together with a snapshot.
    await furnishWithDisk(vcsim, name);
    const { pid } = await host.json<SessionStatus>(["mount", path, host.mountPoint]);
    process.kill(pid, "SIGKILL");
    const umount = await host.vmmount(["umount", host.mountPoint]);
    t.equal(umount.code, 0, umount.stderr);
    t.match(umount.stdout, /removed the snapshot/);
    t.equal(await admin.terminateOthers(), 1, "of the killed daemon, which could not log out");
    await nothingInSimulator(t, host, admin);
  });
}

async function nothingInSimulator(t: Test, host: ProxyHost, admin: RawSoap): Promise<void> {
  const { snapshots } = await host.json<{ snapshots: unknown[] }>(["snapshot", "list", "any:"]);
  t.same(snapshots, [], "no snapshot is left on any VM");
  t.same(await host.leftovers(), NOTHING_LEFT);
  t.equal(await admin.terminateOthers(), 0, "every session is logged out");
}

async function browse(t: Test, host: ProxyHost, path: string, folder: string): Promise<void> {
  t.match((await host.vmmount(["ls"])).stdout, folder);
  const listed = await host.vmmount(["ls", folder]);
  t.equal(listed.code, 0, listed.stderr);
  t.match(listed.stdout, path.slice(path.lastIndexOf("/") + 1));
  const shown = await host.vmmount(["ls", path]);
  t.equal(shown.code, 0, shown.stderr);
  t.match(shown.stdout, /disk1\.vmdk .* yes/);
  const find = async (locator: string): Promise<VmIdentity[]> => {
    const ended = await host.vmmount(["find", locator, "--json"]);
    t.equal(ended.code, 0, `${locator}: ${ended.stderr}`);
    return (JSON.parse(ended.stdout) as { vms: VmIdentity[] }).vms;
  };
  const [vm] = await find(path);
  const name = vm?.name ?? "";
  for (const locator of [
    `name:${name}`,
    name,
    `instanceuuid:${vm?.instanceUuid ?? ""}`,
    vm?.instanceUuid ?? "",
    `uuid:${vm?.biosUuid ?? ""}`,
    `moref:${vm?.ref ?? ""}`,
    `vmx:[LocalDS_0] ${name}/${name}.vmx`,
  ]) {
    t.match(await find(locator), [{ path, ref: vm?.ref }], locator);
  }
  for (const locator of [`glob:${name.slice(0, -1)}*`, "powerstate:on", "any:", `lab:${path}`]) {
    const found = await find(locator);
    t.ok(
      found.some((one) => one.path === path),
      locator,
    );
  }
  t.comment("the simulator's guests report no address, so ipaddr: is covered by vsphere-vcsim.ts, which sets one");
  const absent = await host.vmmount(["find", "ipaddr:192.0.2.17"]);
  t.equal(absent.code, 66, absent.stderr);
}

async function idleSession(t: Test, program: string): Promise<void> {
  await using vcsim = await startVcsim(program, ["-idle", "1s"]);
  const { name } = VCENTER;
  const content = await furnishWithDisk(vcsim, name);
  const host = await hostFor(t, vcsim);
  const { session } = await host.json<SessionStatus>(["mount", `name:${name}`, host.mountPoint, "-vv"]);
  // Longer than the server keeps an idle session: what is waited for is the passing of time itself.
  await new Promise((resolve) => setTimeout(resolve, 2500));
  t.ok(content.equals(await readFileBy(join(host.mountPoint, "scsi0-0-flat.vmdk"))), "reads go on");
  await new Promise((resolve) => setTimeout(resolve, 2500));
  const umount = await host.vmmount(["umount", host.mountPoint]);
  t.equal(umount.code, 0, umount.stderr);
  const log = await readFile(join(host.stateDir, "logs", `${session}.log`), "utf8");
  t.match(log, /Session expired, logging in again/);
  const { snapshots } = await host.json<{ snapshots: unknown[] }>(["snapshot", "list", "any:"]);
  t.same(snapshots, []);
  t.same(await host.leftovers(), NOTHING_LEFT);
}

/** By another process: what a mount serves is read as an agent reads it. */
async function readFileBy(path: string): Promise<Buffer> {
  const ended = await run("base64", ["-w0", path]);
  return Buffer.from(ended.stdout, "base64");
}
