import { readdir } from "node:fs/promises";
import { join } from "node:path";
import t from "tap";
import { dirUrl } from "../../src/dir-url.js";
import type { VmOutcome } from "../../src/mount/many/outcome.js";
import { NOTHING_LEFT, ProxyHost } from "../fixtures/host/proxy-host.js";
import { sha256 } from "../fixtures/host/tree-facts.js";
import { vmFolderFor } from "../fixtures/host/vm-folder.js";
import { testPool } from "../fixtures/xen/lab-pool.js";

/** Several VMs by one command where there is no vSphere. */
interface Several {
  readonly vms: readonly VmOutcome[];
}

void t.test("all VMs of a Xen pool: mounted, read, gone; one that somebody holds fails alone", async (t) => {
  const { lab } = await testPool(t);
  const host = await ProxyHost.make(t, lab);
  const { vms } = await host.json<Several>(["mount", "any:", host.mountPoint]);
  t.ok(vms.length >= 3, `${vms.length} VMs`);
  t.same((await readdir(host.mountPoint)).length, vms.length);
  for (const { vm, directory, status } of vms) {
    const machine = lab.vm(vm.name);
    t.equal(machine.snapshots.length, 1, vm.name);
    const shown = (status?.disks ?? []).filter(({ included }) => included);
    t.ok(shown.length > 0, vm.name);
    const sums = await Promise.all(shown.map(({ file = "" }) => sha256(join(directory, file))));
    const originals = await Promise.all(machine.disks.map(({ uuid }) => lab.hashVdi(uuid)));
    for (const sum of sums) t.ok(originals.includes(sum), `${vm.name}: the bytes of a disk`);
  }
  t.equal((await host.vmmount(["umount", host.mountPoint])).code, 0);

  const other = join(host.directory, "mnt");
  const [taken] = vms;
  await host.json(["mount", `instanceuuid:${taken?.vm.instanceUuid ?? ""}`, other]);
  const again = await host.vmmount(["mount", "any:", host.directory, "--json", "--each", 'test -r "$1/catalog.json"']);
  t.equal(again.code, 81, again.stderr);
  t.match(
    (JSON.parse(again.stdout) as Several).vms.map(({ state, error }) => [state, error?.code]),
    vms.map((_, index) => (index === 0 ? ["failed", 73] : ["done", undefined])),
  );
  t.equal((await host.vmmount(["umount", "--all"])).code, 0);
  t.same([vms.flatMap(({ vm }) => lab.vm(vm.name).snapshots), await host.leftovers()], [[], NOTHING_LEFT]);
  t.equal(lab.traffic.report().sessions, 0);
});

void t.test("all VMs of a folder", async (t) => {
  const folder = await vmFolderFor(t);
  const host = await ProxyHost.make(t, { url: dirUrl(folder) });
  const { vms } = await host.json<Several>(["mount", "any:", host.mountPoint]);
  t.ok(vms.length > 1, `${vms.length} VMs`);
  for (const { directory } of vms) t.ok((await readdir(directory)).includes("catalog.json"), directory);
  t.equal((await host.vmmount(["umount", host.mountPoint])).code, 0);
  t.same(await readdir(host.mountPoint), []);
  t.same(await host.leftovers(), NOTHING_LEFT);
});
