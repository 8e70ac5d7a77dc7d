import { X509Certificate } from "node:crypto";
import t, { type Test } from "tap";
import type { RuleInput } from "../../../../src/lab/rules.js";
import type { LabPool } from "../../../../src/lab/xen/lab-pool.js";
import { PoolClient } from "../../../fixtures/xen/pool-client.js";
import { testPool } from "../../../fixtures/xen/lab-pool.js";

const NULL_REF = "OpaqueRef:NULL";

/** One pool for everything here: each test puts back what it changes. */
const shared = await testPool(t, {
  users: new Map([
    ["reader", { password: "reads", role: "read-only" }],
    ["backup", { password: "backs up", role: "vm-power-admin" }],
  ]),
});
const client = await PoolClient.login(shared.lab);
t.teardown(() => {
  const errors = shared.lines.filter(({ level }) => level === "error");
  if (errors.length > 0) throw new Error(JSON.stringify(errors));
});

interface Record {
  readonly [field: string]: unknown;
}

async function disksOf(one: PoolClient, vm: string): Promise<string[]> {
  const vbds = (await one.call("VM.get_VBDs", vm)) as string[];
  const records = (await Promise.all(vbds.map((vbd) => one.call("VBD.get_record", vbd)))) as Record[];
  return records.filter(({ type }) => type === "Disk").map(({ VDI: vdi }) => vdi as string);
}

async function remove(one: PoolClient, snapshot: string): Promise<void> {
  const disks = await disksOf(one, snapshot);
  await one.call("VM.destroy", snapshot);
  for (const vdi of disks) await one.call("VDI.destroy", vdi);
}

async function unchanged(t: Test, lab: LabPool, run: () => Promise<void>): Promise<void> {
  const before = lab.counts();
  await run();
  t.strictSame(lab.counts(), before, "nothing more and nothing less than before");
}

void t.test("sessions: the master's only, a wrong password takes time, a role has its limits", async (t) => {
  const { lab } = shared;
  const begin = performance.now();
  await t.rejects(PoolClient.login(lab, "root", "wrong"), { message: /^SESSION_AUTHENTICATION_FAILED, root/ });
  t.ok(performance.now() - begin >= lab.rules.settings.wrongPasswordMs - 5);
  await t.rejects(new PoolClient(lab, 1).rpc("session.login_with_password", ["root", lab.password]), {
    message: "HOST_IS_SLAVE, 127.0.0.1",
  });
  await t.rejects(client.on(1).call("VM.get_all"), { message: "HOST_IS_SLAVE, 127.0.0.1" });
  await t.rejects(new PoolClient(lab).call("VM.get_all"), { message: /^SESSION_INVALID/ });
  const reader = await PoolClient.login(lab, "reader", "reads");
  t.ok(await reader.call("VM.get_all_records"));
  await t.rejects(reader.call("VM.snapshot", lab.vm("web01").ref, "x"), { message: /^RBAC_PERMISSION_DENIED/ });
  const backup = await PoolClient.login(lab, "backup", "backs up");
  await t.rejects(backup.call("pool.set_name_label", lab.pool.poolRef, "x"), { message: /^RBAC_PERMISSION_DENIED/ });
  for (const one of [reader, backup]) await one.call("session.logout");
  await t.rejects(reader.call("VM.get_all"), { message: /^SESSION_INVALID/ });
});

void t.test("a snapshot has copies of everything, and keeps the bytes while the guest goes on", async (t) => {
  const { lab } = shared;
  const vm = lab.vm("web01");
  await unchanged(t, lab, async () => {
    const writing = vm.guest.startWriting({ userdevice: "0", bytesPerSecond: 4e6 });
    const ref = (await client.call("VM.snapshot", vm.ref, "s")) as string;
    const [frozen = ""] = await disksOf(client, ref);
    const hash = await lab.hashVdi(frozen);
    const { writes } = await writing.stop();
    await vm.guest.write("0", 512, Buffer.from(`written after ${writes} others`));
    t.equal(await lab.hashVdi(frozen), hash);
    t.not(await lab.hashVdi(vm.disks[0]?.ref ?? ""), hash, "the machine's own disk has changed");
    const record = (await client.call("VM.get_record", ref)) as Record;
    t.match(record, {
      is_a_snapshot: true,
      is_a_template: true,
      power_state: "Halted",
      resident_on: NULL_REF,
      snapshot_of: vm.ref,
      snapshot_info: { "power-state-at-snapshot": "Running", "disk-snapshot-type": "crash_consistent" },
    });
    const macs = async (of: string): Promise<unknown[]> =>
      Promise.all(((await client.call("VM.get_VIFs", of)) as string[]).map((vif) => client.call("VIF.get_MAC", vif)));
    t.strictSame(await macs(ref), await macs(vm.ref), "with the same MAC addresses");
    t.equal(await client.call("VM.get_parent", vm.ref), ref);
    t.match(await client.call("VDI.get_record", frozen), { snapshot_of: vm.disks[0]?.ref, is_a_snapshot: true });
    await t.rejects(client.call("VM.start", ref, false, false), { message: `VM_IS_SNAPSHOT, ${ref}, start` });
    await remove(client, ref);
    t.equal(await client.call("VM.get_parent", vm.ref), NULL_REF);
  });
});

void t.test("when the second disk fails, the snapshot of the first goes again", async (t) => {
  const { lab } = shared;
  await unchanged(t, lab, async () => {
    const fault: RuleInput["action"] = {
      kind: "fault",
      name: "SR_BACKEND_FAILURE_82",
      parameters: ["", "snapshot failed", ""],
    };
    const done = lab.rules.add({ match: { method: "VDI.snapshot" }, skip: 1, count: 1, action: fault });
    await t.rejects(client.call("VM.snapshot", lab.vm("web01").ref, "s"), { message: /^SR_BACKEND_FAILURE_82/ });
    t.equal(done(), 1);
  });
});

void t.test("a disk that is plugged cannot be destroyed, nor for a while afterwards", async (t) => {
  const { lab } = shared;
  const { attachments, hosts } = lab.pool;
  await unchanged(t, lab, async () => {
    const ref = (await client.call("VM.snapshot", lab.vm("web01").ref, "s")) as string;
    const disks = await disksOf(client, ref);
    const [vdi = ""] = disks;
    const plugged = attachments.plug(vdi, hosts[0]!, "RO");
    await client.call("VM.destroy", ref);
    await t.rejects(client.call("VDI.destroy", vdi), { message: `VDI_IN_USE, ${vdi}, destroy` });
    lab.rules.configure({ detachMs: 200 });
    plugged.release();
    await t.rejects(client.call("VDI.destroy", vdi), { message: /^VDI_IN_USE/ });
    // As a client does that will not wait: it unplugs what the control domain left behind.
    await client.call("VBD.unplug", plugged.vbd);
    for (const one of disks) await client.call("VDI.destroy", one);
    lab.rules.configure({ detachMs: 0 });
  });
});

void t.test("tasks show progress, can be cancelled, and end with a result or a fault", async (t) => {
  const { lab } = shared;
  const vm = lab.vm("web01").ref;
  await unchanged(t, lab, async () => {
    const slow = lab.rules.add({ match: { method: "VM.snapshot" }, action: { kind: "taskDuration", ms: 60_000 } });
    const task = (await client.call("Async.VM.snapshot", vm, "s")) as string;
    t.match(await client.task(task), { status: "pending", result: "" });
    await client.call("task.cancel", task);
    t.match(await client.ended(task), { status: "cancelled", error_info: ["TASK_CANCELLED", task] });
    slow();
    const second = (await client.call("Async.VM.snapshot", vm, "s")) as string;
    const { status, result } = await client.ended(second);
    t.equal(status, "success");
    const ref = /^<value>(OpaqueRef:[0-9a-f-]{36})<\/value>$/.exec(result)?.[1] ?? "";
    await remove(client, ref);
    const third = (await client.call("Async.VM.destroy", ref).catch(String)) as string;
    t.match(third, /HANDLE_INVALID, VM/, "parameters are checked before there is a task");
    for (const one of [task, second]) await client.call("task.destroy", one);
  });
});

void t.test("an answer is lost after the effect, a connection before it; sessions end on demand", async (t) => {
  const { lab } = shared;
  const vm = lab.vm("web01");
  const before = vm.snapshots.length;
  const lost = lab.rules.add({ match: { method: "VM.snapshot" }, count: 1, action: { kind: "drop", when: "after" } });
  await t.rejects(client.call("VM.snapshot", vm.ref, "lost"), { code: "ECONNRESET" });
  lost();
  t.equal(vm.snapshots.length, before + 1);
  await remove(client, vm.snapshots.at(-1)!);
  const cut = lab.rules.add({ match: { object: "web01" }, count: 1, action: { kind: "drop", when: "before" } });
  await t.rejects(client.call("VM.snapshot", vm.ref, "lost"), { code: "ECONNRESET" });
  cut();
  t.equal(vm.snapshots.length, before);
  lab.expireSessions();
  await t.rejects(client.call("VM.get_all"), { message: /^SESSION_INVALID/ });
  client.session = (await PoolClient.login(lab)).session;
});

void t.test("a checkpoint keeps memory; the machine runs on; a hard shutdown frees the image", async (t) => {
  const { lab } = shared;
  const vm = lab.vm("db01");
  await unchanged(t, lab, async () => {
    const ref = (await client.call("VM.checkpoint", vm.ref, "c")) as string;
    t.equal(vm.power, "Running");
    const record = (await client.call("VM.get_record", ref)) as Record;
    t.match(record, { power_state: "Suspended", snapshot_info: { "power-state-at-snapshot": "Running" } });
    t.equal(await client.call("VDI.get_type", record["suspend_VDI"]), "suspend");
    await client.call("VM.hard_shutdown", ref);
    await t.rejects(client.call("VDI.get_record", record["suspend_VDI"]), { message: /^HANDLE_INVALID, VDI/ });
    await remove(client, ref);
  });
});

void t.test("off and on again: on the host that sees the disks", async (t) => {
  const { lab } = shared;
  const vm = lab.vm("db01");
  await t.rejects(client.call("VM.start", vm.ref, false, false), {
    message: `VM_BAD_POWER_STATE, ${vm.ref}, halted, running`,
  });
  await client.call("VM.clean_shutdown", vm.ref);
  t.equal(vm.power, "Halted");
  await t.rejects(vm.guest.write("0", 0, Buffer.alloc(512)), /not running/);
  await client.call("VM.start", vm.ref, false, false);
  t.equal(await client.call("VM.get_resident_on", vm.ref), lab.hosts[1]?.ref);
});

void t.test("every host has its own certificate, which calls tell", async (t) => {
  const { lab } = shared;
  const vdi = lab.vm("web01").disks[0]!.ref;
  const info = (await client.call("VDI.get_nbd_info", vdi)) as { address: string; cert: string; subject: string }[];
  t.strictSame(
    info.map(({ address }) => address),
    ["127.0.0.1", "127.0.0.2"],
  );
  for (const [index, host] of lab.hosts.entries()) {
    const pem = (await client.call("host.get_server_certificate", host.ref)) as string;
    const certificate = new X509Certificate(pem);
    t.equal(pem, info[index]?.cert);
    t.ok(certificate.checkIP(host.address), "good for the address");
    t.ok(certificate.checkHost(info[index]!.subject), "and for the subject");
    const [known] = (await client.call("host.get_certificates", host.ref)) as string[];
    t.equal(await client.call("Certificate.get_fingerprint", known), certificate.fingerprint256);
  }
  const local = lab.vm("db01").disks[1]!.ref;
  t.match(await client.call("VDI.get_nbd_info", local), [{ address: "127.0.0.2" }], "only hosts that see the disk");
});

void t.test("changed blocks are those that were written between two snapshots", async (t) => {
  const { lab } = shared;
  const vm = lab.vm("web01");
  const disk = vm.disks[1]!.ref;
  await client.call("VDI.enable_cbt", disk);
  const first = (await client.call("VDI.snapshot", disk, {})) as string;
  await vm.guest.write("1", 3 * 65536 + 10, Buffer.from("changed"));
  const second = (await client.call("VDI.snapshot", disk, {})) as string;
  await client.call("VDI.data_destroy", first);
  t.equal(await client.call("VDI.get_type", first), "cbt_metadata");
  const bitmap = Buffer.from((await client.call("VDI.list_changed_blocks", first, second)) as string, "base64");
  const blocks = [...bitmap].flatMap((byte, at) =>
    [...Array(8).keys()].filter((bit) => byte & (0x80 >> bit)).map((bit) => at * 8 + bit),
  );
  t.strictSame(blocks, [3]);
  t.equal(bitmap.length, Math.ceil(vm.disks[1]!.bytes / 65536 / 8));
  await t.rejects(client.call("VDI.list_changed_blocks", first, first), { message: /^SR_BACKEND_FAILURE_460/ });
  for (const vdi of [first, second]) await client.call("VDI.destroy", vdi);
  await client.call("VDI.disable_cbt", disk);
});

void t.test("disks, machines and their parts are made and unmade", async (t) => {
  const { lab } = shared;
  await unchanged(t, lab, async () => {
    const [SR] = (await client.call("SR.get_by_name_label", "NFS")) as string[];
    const base = { name_label: "new", type: "user", sharable: false, read_only: false, other_config: {} };
    await t.rejects(client.call("VDI.create", { ...base, SR }), { message: "FIELD_TYPE_ERROR, virtual_size" });
    const vdi = (await client.call("VDI.create", { ...base, SR, virtual_size: 3_000_000 })) as string;
    t.equal(await client.call("VDI.get_virtual_size", vdi), 4 * 1024 * 1024, "whole blocks of 2 MiB");
    const model = (await client.call("VM.get_record", lab.vm("cold01").ref)) as Record;
    const vm = (await client.call("VM.create", { ...model, name_label: "made" })) as string;
    const qos = { other_config: {}, qos_algorithm_type: "", qos_algorithm_params: {} };
    const vbd = { VM: vm, VDI: vdi, userdevice: "0", bootable: true, mode: "RW", type: "Disk", empty: false, ...qos };
    await client.call("VBD.create", vbd);
    await t.rejects(client.call("VBD.create", vbd), { message: "DEVICE_ALREADY_EXISTS, 0" });
    const [network] = (await client.call("network.get_all")) as string[];
    const vif = { device: "0", network, VM: vm, MAC: "", MTU: 1500, ...qos };
    const made = (await client.call("VIF.create", vif)) as string;
    t.match(await client.call("VIF.get_MAC", made), /^[0-9a-f][26ae](:[0-9a-f]{2}){5}$/);
    await t.rejects(client.call("VIF.create", { ...vif, device: "1", MAC: "x" }), { message: "MAC_INVALID, x" });
    await remove(client, vm);
  });
  const [sr] = (await client.call("SR.get_by_name_label", "NFS")) as string[];
  lab.pool.database.update("SR", sr!, { physical_size: 1 });
  await t.rejects(client.call("VM.snapshot", lab.vm("web01").ref, "s"), { message: /^SR_BACKEND_FAILURE_44/ });
  lab.pool.database.update("SR", sr!, { physical_size: 100 * 1024 ** 3 });
});

void t.test("requests beyond 300 KiB, and methods of HTTP that XAPI has not", async (t) => {
  const big = await client.send("POST", "/jsonrpc", {}, Buffer.alloc(310 * 1024, 32));
  t.equal(big.status, 500);
  const head = await client.send("HEAD", "/", {});
  t.equal(head.status, 501);
  const malformed = await client.send("POST", "/RPC2", {}, Buffer.from("<methodCall>"));
  t.equal(malformed.status, 500);
  t.match(malformed.headers["content-type"], /html/);
});

void t.test("the master moves, hosts go and come; a pool that starts again has kept its snapshots", async (t) => {
  const { lab } = shared;
  const ref = (await client.call("VM.snapshot", lab.vm("web01").ref, "kept")) as string;
  const hashes = await Promise.all((await disksOf(client, ref)).map((vdi) => lab.hashVdi(vdi)));
  await lab.moveMaster(1);
  t.equal(lab.url, lab.urlOf(1));
  await t.rejects(client.call("VM.get_all"), { message: "HOST_IS_SLAVE, 127.0.0.2" });
  t.ok(await client.on(1).call("VM.get_all"), "a session is the pool's, not a host's");
  await lab.stopHost(0);
  await t.rejects(client.call("VM.get_all"), { code: "ECONNREFUSED" });
  const metrics = await client.on(1).call("host.get_metrics", lab.hosts[0]?.ref);
  t.equal(await client.on(1).call("host_metrics.get_live", metrics), false);
  await lab.startHost(0);
  await lab.moveMaster(0);
  const again = await shared.restart();
  await t.rejects(new PoolClient(again).rpc("VM.get_all", [client.session]), { message: /^SESSION_INVALID/ });
  const next = await PoolClient.login(again);
  t.strictSame(await Promise.all((await disksOf(next, ref)).map((vdi) => again.hashVdi(vdi))), hashes);
  await remove(next, ref);
});
