import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import t from "tap";
import type { Lab } from "../../../src/lab/lab.js";
import type { SessionStatus } from "../../../src/mount/control-protocol.js";
import { GIB, MIB } from "../../../src/units.js";
import { hashes, unmountClean } from "../../fixtures/host/backup-agent.js";
import { BusyGuest } from "../../fixtures/host/busy-guest.js";
import { run, succeed } from "../../fixtures/host/command-line.js";
import { labFor } from "../../fixtures/host/lab-host.js";
import { ProxyHost } from "../../fixtures/host/proxy-host.js";
import { fileSystemFault, filesBelow, sha256 } from "../../fixtures/host/tree-facts.js";

void t.test("tar -S of 9 GiB of thin disks moves only their data", async (t) => {
  const lab = await labFor(t, {});
  const host = await ProxyHost.make(t, lab);
  const vm = lab.vm("web01");
  await host.json(["mount", "/dc1/web01", host.mountPoint]);
  lab.traffic.reset();
  const archive = join(host.directory, "web01.tar");
  await succeed("tar", ["-C", host.mountPoint, "-Scf", archive, "."]);
  const sent = bytesSent(lab);
  t.ok(sent > 220 * MIB, `the data of both disks was sent (${sent} bytes)`);
  t.ok(sent < 300_000_000, `and little else (${sent} bytes)`);

  const restored = join(host.directory, "restored");
  await mkdir(restored);
  await succeed("tar", ["-C", restored, "-xSf", archive]);
  const sizes = (await filesBelow(restored)).filter(({ path }) => path.endsWith("-flat.vmdk"));
  t.match(sizes, [
    { path: "scsi0-0-flat.vmdk", size: 8 * GIB },
    { path: "scsi0-1-flat.vmdk", size: GIB },
  ]);
  t.ok(sizes.reduce((sum, { allocated }) => sum + allocated, 0) < 300_000_000, "the restored images take little space");
  // The frozen disks as the datastore has them, past all protocols; qemu-img skips what is a hole in both.
  for (const [node, frozen] of [
    ["scsi0-0", "web01-flat.vmdk"],
    ["scsi0-1", "web01_1-flat.vmdk"],
  ] as const) {
    const image = join(restored, `${node}-flat.vmdk`);
    const compared = await run("qemu-img", ["compare", "-f", "raw", "-F", "raw", join(vm.folder, frozen), image]);
    t.equal(compared.code, 0, `${node} is restored to the byte ${compared.stdout}`);
    t.equal(await fileSystemFault(image), undefined, `the file system of ${node} is clean`);
  }
  await unmountClean(t, host, lab);
});

void t.test("with --allocation off every byte is read, and every byte is right", async (t) => {
  const lab = await labFor(t);
  const host = await ProxyHost.make(t, lab);
  const vm = lab.vm("web01");
  const guest = new BusyGuest(vm);
  // This guest does not rest for the snapshot either.
  guest.start();
  const status = await host.json<SessionStatus>(["mount", "/dc1/web01", host.mountPoint, "--allocation", "off"]);
  const expected = await hashes(vm, status.snapshot.ref ?? "");
  const images = (await filesBelow(host.mountPoint)).filter(({ path }) => path.endsWith("-flat.vmdk"));
  t.equal(images.length, 2);
  for (const { path, size, allocated } of images) t.equal(allocated, size, `${path} counts as full`);
  t.match(
    status.disks.map(({ capacity, allocated }) => allocated === capacity),
    [true, true, true],
  );
  lab.traffic.reset();
  const copy = join(host.directory, "copy");
  await mkdir(copy);
  await succeed("cp", ["-a", "--sparse=always", `${host.mountPoint}/.`, copy]);
  const capacity = images.reduce((sum, { size }) => sum + size, 0);
  t.equal(bytesSent(lab, "-flat.vmdk"), capacity, "every byte was sent once");
  for (const [node, sum] of Object.entries(expected)) {
    t.equal(await sha256(join(copy, `${node}-flat.vmdk`)), sum, `${node} is that of the snapshot`);
  }
  t.ok(guest.writes.every((writes) => writes > 0));
  await unmountClean(t, host, lab);
  await guest.stop();
});

/** What the datastore has sent of its files since the counters were reset. */
function bytesSent(lab: Lab, suffix = ""): number {
  const files = Object.entries(lab.traffic.report().files).filter(([path]) => path.endsWith(suffix));
  return files.reduce((sum, [, { bytesSent }]) => sum + bytesSent, 0);
}
