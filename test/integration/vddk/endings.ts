import { join } from "node:path";
import t, { type Test } from "tap";
import type { Lab } from "../../../src/lab/lab.js";
import type { SessionStatus } from "../../../src/mount/control-protocol.js";
import { labFor } from "../../fixtures/host/lab-host.js";
import { NOTHING_LEFT, ProxyHost } from "../../fixtures/host/proxy-host.js";
import { sha256 } from "../../fixtures/host/tree-facts.js";
import { LabClient } from "../../fixtures/lab-client.js";
import { holdOpen } from "../../fixtures/mounting.js";
import { NOTHING_HELD, StandIn } from "../../fixtures/vddk/stand-in.js";

// What matrix.ts does not: the ends that one transport is enough for.

interface Stage {
  readonly lab: Lab;
  readonly host: ProxyHost;
  readonly standIn: StandIn;
  readonly mount: () => Promise<SessionStatus>;
}

async function stage(t: Test): Promise<Stage> {
  const lab = await labFor(t);
  const host = await ProxyHost.make(t, lab);
  const standIn = await StandIn.make(t, lab);
  const env = { ...standIn.env, VMMOUNT_VDDK_LIBDIR: standIn.libdir };
  const mount = async (): Promise<SessionStatus> => {
    const args = ["mount", "/dc1/web01", host.mountPoint, "--transport", "nbdssl", "--json"];
    const mounted = await host.vmmount(args, { env });
    t.equal(mounted.code, 0, mounted.stderr);
    return JSON.parse(mounted.stdout) as SessionStatus;
  };
  return { lab, host, standIn, mount };
}

async function nothingIsLeft(t: Test, { lab, host, standIn }: Stage): Promise<void> {
  t.same(lab.vm("web01").snapshots, []);
  t.same(await host.leftovers(), NOTHING_LEFT);
  t.same(await standIn.left(), NOTHING_HELD);
  t.equal(lab.traffic.report().sessions, 0, "every session is logged out");
}

void t.test("umount while a file is open, then by force", async (t) => {
  const at = await stage(t);
  await at.mount();
  const held = await holdOpen(join(at.host.mountPoint, "scsi0-0-flat.vmdk"));
  const refused = await at.host.vmmount(["umount", at.host.mountPoint]);
  t.equal(refused.code, 73, refused.stderr);
  const forced = await at.host.vmmount(["umount", "--force", at.host.mountPoint]);
  t.equal(forced.code, 0, forced.stderr);
  t.not((await held.release()).code, 0, "its reads fail");
  await nothingIsLeft(t, at);
});

void t.test("a VM with an older snapshot, which https cannot read", async (t) => {
  const at = await stage(t);
  const vm = at.lab.vm("web01");
  const client = await LabClient.loggedIn(at.lab);
  await client.snapshot(vm.ref, "before an update");
  await vm.guest.write(vm.disks[0]!.key, 1024 * 1024, Buffer.alloc(256 * 1024, 0x5a));
  const status = await at.mount();
  t.match(status.disks[0], { transport: "nbdssl" });
  const sum = await sha256(join(at.host.mountPoint, "scsi0-0-flat.vmdk"));
  t.equal(sum, await vm.hashDisk(vm.disks[0]!.key, status.snapshot.ref!));
  const umount = await at.host.vmmount(["umount", at.host.mountPoint]);
  t.equal(umount.code, 0, umount.stderr);
  t.match(vm.snapshots, [{ name: "before an update" }], "the one that is not ours stays");
  t.same(await at.host.leftovers(), NOTHING_LEFT);
  t.same(await at.standIn.left(), NOTHING_HELD);
});
