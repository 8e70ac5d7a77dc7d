import { mkdir, readFile, rm } from "node:fs/promises";
import { join } from "node:path";
import t from "tap";
import type { Catalog } from "../../../src/catalog.js";
import type { SessionStatus } from "../../../src/mount/control-protocol.js";
import type { RestoreResult } from "../../../src/restore/restore-to-pool.js";
import { run, succeed } from "../../fixtures/host/command-line.js";
import { NOTHING_LEFT, ProxyHost } from "../../fixtures/host/proxy-host.js";
import { filesBelow, fileSystemFault, sha256 } from "../../fixtures/host/tree-facts.js";
import { testPool } from "../../fixtures/xen/lab-pool.js";

interface Agent {
  readonly name: string;
  backUp(from: string, store: string): Promise<unknown>;
  /** @returns the folder with the files */
  restore(store: string, into: string, from: string): Promise<string>;
}

const restic = (store: string, ...args: string[]): Promise<string> =>
  succeed("restic", args, {
    env: { RESTIC_REPOSITORY: join(store, "r"), RESTIC_CACHE_DIR: join(store, "c"), RESTIC_PASSWORD: "test" },
  });
const borg = (store: string, cwd: string, ...args: string[]): Promise<string> =>
  succeed("borg", args, {
    cwd,
    env: { BORG_REPO: join(store, "r"), BORG_BASE_DIR: store, BORG_UNKNOWN_UNENCRYPTED_REPO_ACCESS_IS_OK: "yes" },
  });

const AGENTS: readonly Agent[] = [
  {
    name: "tar",
    backUp: (from, store) => succeed("tar", ["-C", from, "-Scf", join(store, "all.tar"), "."]),
    restore: async (store, into) => {
      await succeed("tar", ["-C", into, "-xf", join(store, "all.tar")]);
      return into;
    },
  },
  {
    name: "cp",
    backUp: (from, store) => succeed("cp", ["-a", "--sparse=always", from, join(store, "copy")]),
    restore: (store) => Promise.resolve(join(store, "copy")),
  },
  {
    name: "rsync",
    backUp: (from, store) => succeed("rsync", ["-aS", `${from}/`, join(store, "copy")]),
    restore: (store) => Promise.resolve(join(store, "copy")),
  },
  {
    name: "restic",
    backUp: async (from, store) => {
      await restic(store, "init");
      await restic(store, "backup", from);
    },
    restore: async (store, into, from) => {
      await restic(store, "restore", "latest", "--target", into);
      return join(into, from);
    },
  },
  {
    name: "borg",
    backUp: async (from, store) => {
      await borg(store, from, "init", "--encryption=none");
      await borg(store, from, "create", "::one", ".");
    },
    restore: async (store, into) => {
      await borg(store, into, "extract", "::one");
      return into;
    },
  },
];

const pool = await testPool(t, { profile: "8.3" });
const { lab } = pool;
const host = await ProxyHost.make(t, lab);

void t.test("agents copy a Xen VM while its guest writes, and nothing is left in the pool", async (t) => {
  const before = lab.counts();
  const vm = lab.vm("web01");
  const quiet = Object.fromEntries(
    await Promise.all(vm.disks.map(async (disk) => [nameOf(disk), await lab.hashVdi(disk.uuid)] as const)),
  );
  const status = await host.json<SessionStatus>(["mount", "/web01", host.mountPoint]);
  t.match(status, {
    snapshot: { name: `vmmount-${status.session}`, consistency: "crash" },
    disks: [{ transport: "nbd" }, {}],
  });
  t.equal(vm.snapshots.length, 1);
  const writing = vm.disks.map(({ userdevice }) => vm.guest.startWriting({ userdevice }));
  const shown = (await filesBelow(host.mountPoint)).map(({ path }) => path).sort();
  t.same(shown, ["catalog.json", "ova.xml", "web01.xva", "xvda.raw", "xvdb.raw"]);
  const catalog = JSON.parse(await readFile(join(host.mountPoint, "catalog.json"), "utf8")) as Catalog;
  t.match(catalog, { server: { kind: "xen" }, archives: ["web01.xva"], vm: { name: "web01", instanceUuid: vm.uuid } });
  const archiveSum = await sha256(join(host.mountPoint, "web01.xva"));

  for (const agent of AGENTS) {
    const [store, into] = [join(host.directory, `${agent.name}-store`), join(host.directory, `${agent.name}-back`)];
    await mkdir(store);
    await mkdir(into);
    await agent.backUp(host.mountPoint, store);
    const restored = await agent.restore(store, into, host.mountPoint);
    for (const [name, sum] of Object.entries(quiet))
      t.equal(await sha256(join(restored, name)), sum, `${agent.name}: ${name}`);
    t.equal(
      await sha256(join(restored, "web01.xva")),
      archiveSum,
      `${agent.name}: the archive is the same bytes every time`,
    );
    t.equal(await fileSystemFault(join(restored, "xvda.raw")), undefined);
    if (agent.name !== "cp") await rm(into, { recursive: true });
    if (agent.name !== "cp") await rm(store, { recursive: true });
  }

  for (const one of writing) t.ok((await one.stop()).writes > 0, "the guest wrote meanwhile");
  t.match(await host.vmmount(["umount", host.mountPoint]), { code: 0, stdout: /removed the snapshot/ });
  t.same(vm.snapshots, []);
  t.same(await host.leftovers(), NOTHING_LEFT);
  t.same(lab.counts(), before, "VMs, disks, attachments, tasks and sessions are as before");
});

void t.test("what an agent copied is restored: the archive, and the raw disks", async (t) => {
  const backup = join(host.directory, "cp-store/copy");
  const listed = await run("tar", ["-tf", join(backup, "web01.xva")]);
  t.equal(listed.code, 0, listed.stderr);
  t.equal(listed.stdout.split("\n")[0], "ova.xml");
  for (const [what, name] of [
    [join(backup, "web01.xva"), "from the archive"],
    [backup, "from the disks"],
  ] as const) {
    const result = await host.json<RestoreResult>(["restore", what, "--name", name]);
    t.match(result.vms, [{ name, isTemplate: false }]);
    const made = lab.vm(name);
    for (const disk of made.disks) {
      t.equal(await lab.hashVdi(disk.uuid), await sha256(join(backup, nameOf(disk))), `${name}: ${nameOf(disk)}`);
    }
    t.equal(made.disks.length, 2);
  }
});

void t.test("a pool of 7.1 has no NBD: its disks are fetched first, then read from here", async (t) => {
  const old = await testPool(t, { profile: "7.1" });
  const proxy = await ProxyHost.make(t, old.lab);
  const before = old.lab.counts();
  const vm = old.lab.vm("web01");
  const status = await proxy.json<SessionStatus>(["mount", "/web01", proxy.mountPoint]);
  t.match(status.disks, [{ transport: "http", refused: [{ transport: "nbd" }] }, { transport: "http" }]);
  for (const disk of vm.disks) {
    const frozen = await frozenSum(old.lab, vm.snapshots[0] ?? "", disk.userdevice);
    t.equal(await sha256(join(proxy.mountPoint, nameOf(disk))), frozen, nameOf(disk));
  }
  t.match(await proxy.vmmount(["umount", proxy.mountPoint]), { code: 0 });
  t.same(old.lab.counts(), before);
  t.same(await proxy.leftovers(), NOTHING_LEFT);

  const forced = await proxy.vmmount(["mount", "/web01", proxy.mountPoint, "--transport", "nbd"]);
  t.match(forced, { code: 69, stderr: /nbd/i });
  const foreign = await proxy.vmmount(["mount", "/web01", proxy.mountPoint, "--transport", "san"]);
  t.match(foreign, { code: 64, stderr: /a Xen pool has none of that name/ });
  t.match(await proxy.vmmount(["mount", "/db01", proxy.mountPoint, "--quiesce", "require"]), { code: 72 });
  t.same(old.lab.counts(), before);
  t.same(await proxy.leftovers(), NOTHING_LEFT);
});

function nameOf({ userdevice }: { readonly userdevice: string }): string {
  return `xvd${String.fromCharCode("a".charCodeAt(0) + Number(userdevice))}.raw`;
}

async function frozenSum(from: typeof lab, snapshot: string, userdevice: string): Promise<string> {
  const { database } = from.pool;
  const vbd = database
    .where("VBD", "VM", snapshot)
    .find((ref) => database.text("VBD", ref, "userdevice") === userdevice);
  return from.hashVdi(database.text("VBD", vbd ?? "", "VDI"));
}
