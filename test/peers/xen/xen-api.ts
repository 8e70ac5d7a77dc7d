import t, { type Test } from "tap";
import { Xapi } from "xen-api";
import type { LabPool } from "../../../src/lab/xen/lab-pool.js";
import { PROFILES } from "../../../src/lab/xen/profile.js";
import { testPool } from "../../fixtures/xen/lab-pool.js";

/** JSON-RPC is what the client tries first. */
const TRANSPORTS = { "7.1": ["auto", "xml-rpc"], "8.2": ["auto"], "8.3": ["auto", "xml-rpc"] } as const;

/** Xen Orchestra's own client, which nobody of this project wrote, must agree with the lab's pool. */
for (const profile of PROFILES) {
  void t.test(`xen-api and the lab's pool of ${profile}`, async (t) => {
    const { lab, lines } = await testPool(t, { profile });
    const before = lab.counts();
    for (const transport of TRANSPORTS[profile]) {
      await t.test(transport, async (t) => {
        const xapi = await connected(t, lab, transport);
        checkInventory(t, lab, xapi);
        await snapshotAndBack(t, lab, xapi);
        if (profile === "7.1") await quiesced(t, lab, xapi);
        await xapi.disconnect();
        await untilLoggedOut(lab);
        t.strictSame(lab.counts(), before, "nothing is left behind");
      });
    }
    t.strictSame(
      lines.filter(({ level }) => level === "error"),
      [],
      "the lab had no bugs",
    );
  });
}

/** Through the member: the client must follow it to the master. */
async function connected(t: Test, lab: LabPool, transport: "auto" | "xml-rpc"): Promise<Xapi> {
  const xapi = new Xapi({
    url: lab.urlOf(1).replace("xen:", "https:"),
    auth: { user: lab.user, password: lab.password },
    // Its HTTP library takes no CA file; what certificates say is another test's matter.
    allowUnauthorized: true,
    debounce: 10,
    transport,
  });
  t.teardown(() => xapi.disconnect());
  await xapi.connect();
  await xapi.objectsFetched;
  return xapi;
}

function checkInventory(t: Test, lab: LabPool, xapi: Xapi): void {
  const objects = Object.values(xapi.objects.all);
  const names = objects
    .filter(({ $type, is_a_template: template, is_a_snapshot: snapshot, is_control_domain: dom0 }) => {
      return $type === "VM" && template === false && snapshot === false && dom0 === false;
    })
    .map(({ name_label: name }) => name);
  t.strictSame(names.sort(), lab.vms.map(({ name }) => name).sort(), "it lists the machines");
  const types = ["VM", "VDI", "VBD", "VIF", "SR", "PBD", "host", "network", "PIF", "VM_guest_metrics"];
  const seen = Object.fromEntries(types.map((type) => [type, objects.filter(({ $type }) => $type === type).length]));
  const counts = lab.counts();
  t.strictSame(seen, Object.fromEntries(types.map((type) => [type, counts[type]])), "and every object of each class");
  t.equal(xapi.pool["master"], lab.hosts[0]?.ref, "it found the master");
}

async function snapshotAndBack(t: Test, lab: LabPool, xapi: Xapi): Promise<void> {
  const vm = lab.vm("web01");
  const live = await Promise.all(vm.disks.map(({ uuid }) => lab.hashVdi(uuid)));
  const ref = String(await xapi.callAsync("VM.snapshot", vm.ref, "by xen-api"));
  const snapshot = await xapi.barrier(ref);
  t.equal(snapshot["snapshot_of"], vm.ref);
  t.equal(snapshot["is_a_snapshot"], true);
  t.strictSame(xapi.getObjectByRef(vm.ref)["snapshots"], [ref], "the machine's own record has changed, too");
  await xapi.setFieldEntry("VM", ref, "other_config", "marker", "mine");
  const marked = await xapi.barrier(ref);
  t.match(marked["other_config"], { marker: "mine" });

  const vdis = (snapshot["VBDs"] as readonly string[])
    .map((vbd) => xapi.getObjectByRef(vbd))
    .filter(({ type }) => type === "Disk")
    .map(({ VDI: vdi }) => xapi.getObjectByRef(vdi as string));
  const frozen = await Promise.all(vdis.map(({ uuid }) => lab.hashVdi(uuid)));
  t.strictSame(frozen, live, "the snapshot's disks hold the machine's bytes");
  const tasks = await xapi.getAllRecords("task");
  t.ok(
    tasks.every(({ status }) => status !== "failure"),
    "no task has failed",
  );

  await xapi.callAsync("VM.destroy", ref);
  for (const { $ref } of vdis) await xapi.callAsync("VDI.destroy", $ref);
  await xapi.barrier();
  t.equal(xapi.objects.all[snapshot.uuid], undefined, "it was told of the removal");
  await t.rejects(xapi.callAsync("VM.destroy", ref), { code: "HANDLE_INVALID", params: ["VM", ref] });
  await t.rejects(xapi.call("VM.snapshot_with_quiesce", lab.vm("db01").ref, "no drivers"), {
    code: lab.pool.profile.name === "7.1" ? "VM_SNAPSHOT_WITH_QUIESCE_NOT_SUPPORTED" : "MESSAGE_REMOVED",
  });
}

/** Only 7.1 can, and only inside of guests that have the drivers for it. */
async function quiesced(t: Test, lab: LabPool, xapi: Xapi): Promise<void> {
  const ref = String(await xapi.callAsync("VM.snapshot_with_quiesce", lab.vm("web01").ref, "quiesced"));
  const snapshot = await xapi.barrier(ref);
  t.match(snapshot["snapshot_info"], { "disk-snapshot-type": "quiesced" });
  const vdis = (snapshot["VBDs"] as readonly string[])
    .map((vbd) => xapi.getObjectByRef(vbd))
    .flatMap(({ type, VDI: vdi }) => (type === "Disk" ? [vdi as string] : []));
  await xapi.callAsync("VM.destroy", ref);
  for (const vdi of vdis) await xapi.callAsync("VDI.destroy", vdi);
}

/** The client does not wait for the answer to its logout, nor for the removal of its last tasks. */
async function untilLoggedOut(lab: LabPool): Promise<void> {
  for (let tries = 0; tries < 100; tries++) {
    const { session, task } = lab.counts();
    if (session === 0 && task === 0) return;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}
