import { appendFile, mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import t, { type Test } from "tap";
import type { Catalog } from "../../../src/catalog.js";
import type { Lab } from "../../../src/lab/lab.js";
import type { SessionStatus } from "../../../src/mount/control-protocol.js";
import { symbolOf, VDDK_FUNCTIONS, type VddkFunctionName } from "../../../src/vddk/functions.js";
import { NODE_ARGUMENTS, PROGRAM, run, succeed } from "../../fixtures/host/command-line.js";
import { labFor } from "../../fixtures/host/lab-host.js";
import { NOTHING_LEFT, ProxyHost } from "../../fixtures/host/proxy-host.js";
import { sha256 } from "../../fixtures/host/tree-facts.js";
import { scratch } from "../../fixtures/scratch.js";
import { NOTHING_HELD, nbdkitWithVddk, StandIn } from "../../fixtures/vddk/stand-in.js";

interface Stage {
  readonly lab: Lab;
  readonly host: ProxyHost;
  readonly standIn: StandIn;
  readonly mount: (...args: readonly string[]) => ReturnType<ProxyHost["vmmount"]>;
}

async function stage(t: Test, release: "8.0" | "6.5" = "8.0"): Promise<Stage> {
  const lab = await labFor(t);
  const host = await ProxyHost.make(t, lab);
  const standIn = await StandIn.make(t, lab, release);
  const env = { ...standIn.env, VMMOUNT_VDDK_LIBDIR: standIn.libdir };
  const mount = (...args: readonly string[]) =>
    host.vmmount(["mount", "/dc1/web01", host.mountPoint, ...args], { env });
  return { lab, host, standIn, mount };
}

async function disksAreEqual(t: Test, { lab, host }: Stage): Promise<void> {
  const vm = lab.vm("web01");
  const [snapshot] = vm.snapshots;
  for (const [index, node] of ["scsi0-0", "scsi0-1"].entries()) {
    const sum = await sha256(join(host.mountPoint, `${node}-flat.vmdk`));
    t.equal(sum, await vm.hashDisk(vm.disks[index]!.key, snapshot!.ref), node);
  }
}

async function endsClean(t: Test, { lab, host, standIn }: Stage): Promise<void> {
  const umount = await host.vmmount(["umount", host.mountPoint]);
  t.equal(umount.code, 0, umount.stderr);
  t.same(lab.vm("web01").snapshots, []);
  t.same(await host.leftovers(), NOTHING_LEFT);
  t.same(await standIn.left(), NOTHING_HELD);
  t.equal((await standIn.events()).at(-1), "exit");
}

void t.test("the first that works is taken, and why the others were not is written down", async (t) => {
  const at = await stage(t);
  await at.standIn.set({ modes: "nbdssl:nbd", refuse_nbdssl: 14009 });
  const mounted = await at.mount("--json", "--transport", "san:hotadd:nbdssl:nbd:https", "-vv");
  t.equal(mounted.code, 0, mounted.stderr);
  const { disks } = JSON.parse(mounted.stdout) as SessionStatus;
  t.match(disks[0], {
    transport: "nbd",
    refused: [
      { transport: "san" },
      { transport: "hotadd" },
      { transport: "nbdssl", reason: /the host refuses the connection/ },
    ],
  });
  t.match(mounted.stderr, /cannot be read over san/);
  const catalog = JSON.parse(await succeed("cat", [join(at.host.mountPoint, "catalog.json")])) as Catalog;
  t.match(catalog.disks[0], { transport: "nbd", refusedTransports: [{}, {}, { transport: "nbdssl" }] });
  await disksAreEqual(t, at);
  await endsClean(t, at);
});

void t.test("a library that falls back by itself is not believed", async (t) => {
  const at = await stage(t);
  await at.standIn.set({ modes: "nbdssl", fallback: "nbdssl" });
  const forced = await at.mount("--transport", "san");
  t.equal(forced.code, 69, forced.stderr);
  t.match(forced.stderr, /over san: the library took nbdssl instead/);
  t.same(at.lab.vm("web01").snapshots, []);
  t.same(await at.standIn.left(), NOTHING_HELD);
  t.same(await at.host.leftovers(), NOTHING_LEFT);
});

void t.test("without a word of transports the library's come first, in their order, and https last", async (t) => {
  const at = await stage(t);
  await at.standIn.set({ modes: "nbdssl:nbd" });
  const library = await at.mount("--json");
  t.equal(library.code, 0, library.stderr);
  const refused = [{ transport: "san" }, { transport: "hotadd" }];
  t.match(JSON.parse(library.stdout), { disks: [{ transport: "nbdssl", refused }, { transport: "nbdssl" }] });
  t.equal((JSON.parse(library.stdout) as SessionStatus).disks[0]?.refused?.length, 2);
  await endsClean(t, at);
  await at.standIn.set({ modes: "file" });
  const https = await at.mount("--json");
  t.equal(https.code, 0, https.stderr);
  const all = [...refused, { transport: "nbdssl" }, { transport: "nbd" }];
  t.match(JSON.parse(https.stdout), { disks: [{ transport: "https", refused: all }] });
  await endsClean(t, at);
});

void t.test("a library where everybody puts it is found without a setting", async (t) => {
  const { host, standIn } = await stage(t);
  // In a mount namespace of its own.
  const script = 'mount -t tmpfs opt /opt && ln -s "$0" /opt/vmware-vix-disklib-distrib && exec "$@"';
  const doctor = [process.execPath, ...NODE_ARGUMENTS, PROGRAM, "doctor", "--json"];
  const env = { VMMOUNT_CONFIG: host.configPath };
  const found = await run("unshare", ["-m", "sh", "-c", script, standIn.libdir, ...doctor], { env });
  t.match(found.stdout, /VDDK 8\.0\.\d+ is in \/opt\/vmware-vix-disklib-distrib/);
});

void t.test("SEP's option names and the configuration choose as well", async (t) => {
  const at = await stage(t);
  await appendFile(at.host.configPath, '\n[mount]\ntransport = "nbd"\n');
  const configured = await at.mount("--json");
  t.equal(configured.code, 0, configured.stderr);
  t.match(JSON.parse(configured.stdout), { disks: [{ transport: "nbd", refused: [] }] });
  await endsClean(t, at);
  const mounted = await at.mount("-o", "trans=nbdssl:nbd", "-o", "qui=0", "--json");
  t.equal(mounted.code, 0, mounted.stderr);
  t.match(JSON.parse(mounted.stdout), { disks: [{ transport: "nbdssl" }], snapshot: { consistency: "crash" } });
  await endsClean(t, at);
  const wrong = await at.mount("-o", "trans=nbdd");
  t.equal(wrong.code, 78, wrong.stderr);
  t.match(wrong.stderr, /did you mean "nbd"/);
  t.equal((await at.mount("-o", "color=blue")).code, 64);
});

/** @returns the path of a library that has all functions that are needed, but one */
async function withoutPrepare(t: Test): Promise<string> {
  const names = (Object.keys(VDDK_FUNCTIONS) as VddkFunctionName[]).filter((name) => name !== "PrepareForAccess");
  const [source, library] = [join(scratch(t), "old.c"), join(scratch(t), "old.so")];
  await writeFile(source, names.map((name) => `void ${symbolOf(name)}(void) {}\n`).join(""));
  await succeed("gcc", ["-shared", "-fPIC", "-o", library, source]);
  return library;
}

const nbdkit = await nbdkitWithVddk(t);
const noNbdkit = "missing" in nbdkit ? nbdkit.missing : false;

void t.test("an installed nbdkit does it as well", { skip: noNbdkit }, async (t) => {
  const at = await stage(t);
  // nbdkit opens disks in a thread of each client.
  await at.standIn.set({ threads: "any" });
  const env = {
    ...at.standIn.env,
    VMMOUNT_VDDK_LIBDIR: at.standIn.libdir,
    VMMOUNT_VDDK_HOST: "nbdkit",
    PATH: `${"folder" in nbdkit ? nbdkit.folder : ""}:${process.env["PATH"] ?? ""}`,
  };
  const mount = (...args: readonly string[]) =>
    at.host.vmmount(["mount", "/dc1/web01", at.host.mountPoint, ...args], { env });
  const mounted = await mount("--transport", "nbdssl", "--json");
  t.equal(mounted.code, 0, mounted.stderr);
  t.match(JSON.parse(mounted.stdout), { disks: [{ transport: "nbdssl", allocation: /as VDDK tells/ }] });
  await disksAreEqual(t, at);
  for (const pid of await at.host.daemons()) {
    t.notMatch((await run("cat", [`/proc/${pid}/cmdline`])).stdout, at.lab.password);
  }
  t.equal((await at.host.vmmount(["umount", at.host.mountPoint])).code, 0);
  t.same(await at.host.leftovers(), NOTHING_LEFT);
  t.match(await at.standIn.left(), { open: 0, connected: 0 });
  await at.standIn.set({ thumbprint: "00:11:22:33:44:55:66:77:88:99:AA:BB:CC:DD:EE:FF:00:11:22:33" });
  const refused = await mount("--transport", "nbdssl");
  t.equal(refused.code, 74, refused.stderr);
  t.match(refused.stderr, /through nbdkit: .*thumbprint/);
  t.same(at.lab.vm("web01").snapshots, []);
  t.same(await at.host.leftovers(), NOTHING_LEFT);
});

void t.test("what keeps the library from working is said, with exit 69, and leaves nothing", async (t) => {
  const at = await stage(t);
  const host = at.host;
  const mount = (libdir: string, ...args: readonly string[]) =>
    host.vmmount(["mount", "/dc1/web01", host.mountPoint, ...args], {
      env: { ...at.standIn.env, VMMOUNT_VDDK_LIBDIR: libdir },
    });
  const missing = await mount("/nonexistent", "--transport", "nbdssl");
  t.equal(missing.code, 69, missing.stderr);
  t.match(missing.stderr, /vddk\.libdir "\/nonexistent": there is no such folder.*Download/s);
  const wrong = await mount(join(at.standIn.libdir, "lib64"), "--transport", "nbdssl");
  t.equal(wrong.code, 69, wrong.stderr);
  t.match(wrong.stderr, /it must be the folder above lib64/);
  for (const [name, main, message] of [
    ["libvixDiskLib.so.5", "", /it is VDDK 5, and 6\.5 is the oldest/],
    ["libvixDiskLib.so.8", "", /Cannot load VDDK from .*libvixDiskLib\.so\.8.*whole as it was unpacked/s],
    [
      "libvixDiskLib.so.8",
      await withoutPrepare(t),
      /it has no VixDiskLib_PrepareForAccess\W.*Install VDDK 6\.5 or later/s,
    ],
  ] as const) {
    const libdir = scratch(t);
    await mkdir(join(libdir, "lib64"));
    await writeFile(join(libdir, "lib64", "libdiskLibPlugin.so"), "");
    if (main === "") await writeFile(join(libdir, "lib64", name), "");
    else {
      for (const file of [name, "libdiskLibPlugin.so"]) await succeed("cp", [main, join(libdir, "lib64", file)]);
    }
    const broken = await mount(libdir, "--transport", "nbdssl");
    t.equal(broken.code, 69, broken.stderr);
    t.match(broken.stderr, message);
    t.same(at.lab.vm("web01").snapshots, []);
  }
  const https = await mount("/nonexistent", "--transport", "nbdssl:https", "--json");
  t.equal(https.code, 0, https.stderr);
  t.match(JSON.parse(https.stdout), { disks: [{ transport: "https", refused: [{ transport: "nbdssl" }] }] });
  t.equal((await host.vmmount(["umount", host.mountPoint])).code, 0);
  await at.standIn.set({ thumbprint: "00:11:22:33:44:55:66:77:88:99:AA:BB:CC:DD:EE:FF:00:11:22:33" });
  const distrusted = await at.mount("--transport", "nbdssl");
  t.equal(distrusted.code, 74, distrusted.stderr);
  // The stand-in warns of it as well, which VMware's library need not.
  t.match(distrusted.stderr.trim().split("\n").at(-1), /The usual reason is that the thumbprint is not the one/);
  await at.standIn.set({ thumbprint: at.standIn.thumbprint, password_sha256: "00", cookie_sha256: "00" });
  const refused = await at.mount("--transport", "nbdssl");
  t.equal(refused.code, 77, refused.stderr);
  t.same(at.lab.vm("web01").snapshots, []);
  t.same(await host.leftovers(), NOTHING_LEFT);
  t.same(await at.standIn.left(), NOTHING_HELD);
});
