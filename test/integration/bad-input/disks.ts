import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import t, { type Test } from "tap";
import { addMachine } from "../../fixtures/host/lab-machine.js";
import { labDirectory, labIn } from "../../fixtures/host/lab-host.js";
import { ProxyHost } from "../../fixtures/host/proxy-host.js";
import { nothingLeft, refused, refusedJson, type Refusal } from "../../fixtures/host/refusals.js";
import { until } from "../../fixtures/host/until.js";
import { RawSoap } from "../../fixtures/vsphere/raw-soap.js";

/** Disks that cannot be read, and descriptors that lie. */
const directory = await labDirectory(t);
await addMachine(directory, { folder: "tiny" });
await addMachine(directory, { folder: "aged" });
await addMachine(directory, { folder: "apart", independent: true });
const lab = await labIn(t, directory);

void t.test("a VM of which no disk takes part in snapshots", async (t) => {
  const host = await ProxyHost.make(t, lab);
  lab.traffic.reset();
  const says = [/none of its disks/, /Hard disk 1: .*independent/];
  await refused(t, host, ["mount", "name:apart", host.mountPoint], { exit: "refused", says });
  t.notMatch(Object.keys(lab.traffic.report().methods).join(" "), /CreateSnapshot/, "no snapshot was made");
  await nothingLeft(t, host, lab);
});

void t.test("a descriptor that is not on the datastore", async (t) => {
  const host = await ProxyHost.make(t, lab);
  const stop = lab.rules.add({ match: { path: "/folder/tiny/disk.vmdk" }, action: { kind: "status", status: 404 } });
  await refused(t, host, ["mount", "name:tiny", host.mountPoint], {
    exit: "not-found",
    says: /\[ds1\] tiny\/disk\.vmdk/,
  });
  stop();
  await nothingLeft(t, host, lab);
});

void t.test("a data file that is not on the datastore", async (t) => {
  const host = await ProxyHost.make(t, lab);
  const stop = lab.rules.add({
    match: { path: "/folder/tiny/disk-flat.vmdk" },
    action: { kind: "status", status: 404 },
  });
  await refused(t, host, ["mount", "name:tiny", host.mountPoint], { exit: "not-found", says: /disk-flat\.vmdk/ });
  stop();
  await nothingLeft(t, host, lab);
});

const BAD_DESCRIPTORS: Readonly<
  Record<string, { readonly from: RegExp; readonly to: string; readonly says: Refusal["says"] }>
> = {
  "leads to another folder": { from: /"disk-flat\.vmdk"/, to: '"../web01/web01-flat.vmdk"', says: /web01-flat\.vmdk/ },
  "leads to a file of this machine": { from: /"disk-flat\.vmdk"/, to: '"/etc/passwd"', says: /\/etc\/passwd/ },
  "leads to another datastore": { from: /"disk-flat\.vmdk"/, to: '"[ds2] x\\\\y-flat.vmdk"', says: /ds2/ },
  "describes another size": { from: /RW 2048/, to: "RW 1024", says: [/524288 bytes/, /1048576/] },
  "needs more than its file has": { from: /RW 2048/, to: "RW 4096", says: /1048576 bytes/ },
  "is noise": { from: /[\s\S]*/, to: "\u0000\u0001\u0002 no descriptor \u001b[2J", says: /descriptor/ },
  "is empty": { from: /[\s\S]*/, to: "", says: /descriptor/ },
  "asks for the moon": { from: /RW 2048/, to: "RW 99999999999999999999", says: /descriptor/ },
};

for (const [what, { from, to, says = [] }] of Object.entries(BAD_DESCRIPTORS)) {
  void t.test(`a descriptor that ${what}`, async (t) => {
    const host = await ProxyHost.make(t, lab);
    const restore = await spoil(t, (text) => text.replace(from, to));
    lab.traffic.reset();
    await refused(t, host, ["mount", "name:tiny", host.mountPoint], { exit: "data", says });
    const asked = Object.keys(lab.traffic.report().files).filter((path) => !path.startsWith("[ds1] tiny/"));
    t.same(asked, [], "no file of another place was asked for");
    await restore();
    await nothingLeft(t, host, lab);
  });
}

/** Last: their snapshot stays. */
void t.test("a VM with an older snapshot of somebody else, whose disk is a delta", async (t) => {
  const host = await ProxyHost.make(t, lab);
  const vm = lab.vm("aged");
  const admin = await RawSoap.loggedIn(lab);
  await admin.call(
    `<CreateSnapshot_Task xmlns="urn:vim25"><_this type="VirtualMachine">${vm.ref}</_this>` +
      `<name>before the upgrade</name><memory>false</memory><quiesce>false</quiesce></CreateSnapshot_Task>`,
  );
  await until("the user's snapshot is there", () => vm.snapshots.length === 1);
  await admin.call(`<Logout xmlns="urn:vim25"><_this type="SessionManager">SessionManager</_this></Logout>`);
  const says = [/"Hard disk 1" \(scsi0-0\) of "aged"/, /vmfsSparse|seSparse/, /older snapshots/];
  const facts = await refusedJson(t, host, ["mount", "name:aged", host.mountPoint], { exit: "unavailable", says });
  t.equal(facts.kind, "MissingCapabilityError");
  t.match(vm.snapshots, [{ name: "before the upgrade" }], "ours is removed, theirs is not");
  await nothingLeft(t, host, lab, 1);
});

/** Changes the descriptor of the VM's disk on the datastore, and back. */
async function spoil(t: Test, change: (text: string) => string): Promise<() => Promise<void>> {
  const path = join(directory, "ds1", "tiny", "disk.vmdk");
  const honest = await readFile(path, "utf8");
  await writeFile(path, change(honest));
  const restore = (): Promise<void> => writeFile(path, honest);
  t.teardown(restore);
  return restore;
}
