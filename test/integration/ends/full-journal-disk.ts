import { copyFile, mkdir, readdir, readFile, rm, stat } from "node:fs/promises";
import { join } from "node:path";
import t, { type Test } from "tap";
import type { SessionStatus } from "../../../src/mount/control-protocol.js";
import { labDirectory, labIn } from "../../fixtures/host/lab-host.js";
import { addMachine } from "../../fixtures/host/lab-machine.js";
import { ProxyHost } from "../../fixtures/host/proxy-host.js";
import { checkRefusal, nothingLeft } from "../../fixtures/host/refusals.js";
import { PAGE_BYTES, SmallDisk } from "../../fixtures/host/small-disk.js";

/** The disk of `state.dir` runs full at every record of the journal in turn; nothing stays, and `gc` agrees. */
const directory = await labDirectory(t);
await addMachine(directory, { folder: "tiny" });
const lab = await labIn(t, directory);
const isRoot = process.geteuid?.() === 0;
const skip = isRoot ? false : "only root mounts a small disk";
const FULL = { exit: "space", says: /"\/\S+\/state\/\w+.*no room left.*Make room there, or set state\.dir/ } as const;

interface Stage {
  readonly host: ProxyHost;
  readonly disk: SmallDisk;
  /** A path of so many characters to the lab's CA: the first record has it in it, and so gets as long as is wanted. */
  readonly caFile: (length: number) => string;
}

async function stage(t: Test): Promise<Stage> {
  const host = await ProxyHost.make(t, lab);
  const disk = await SmallDisk.at(t, host.stateDir);
  const ca = join(host.directory, "ca.pem");
  await copyFile(lab.certificatePath, ca);
  const caFile = (length: number): string => `${host.directory}${"/".repeat(length - ca.length + 1)}ca.pem`;
  return { host, disk, caFile };
}

const CA_CHARS = 200;
/** Level 1 keeps the log empty, so that the journal alone takes pages. */
const mountArgs = ({ host, caFile }: Stage, caChars: number): string[] => [
  "mount",
  "name:tiny",
  host.mountPoint,
  "-q",
  "--ca-file",
  caFile(caChars),
];

/** Where each record of a whole life begins and ends, with a CA path of CA_CHARS. */
async function layout(t: Test): Promise<Map<string, { from: number; to: number }>> {
  const at = await stage(t);
  const { host } = at;
  const { session } = await host.json<SessionStatus>(mountArgs(at, CA_CHARS));
  lab.rules.add({ match: { method: "RemoveSnapshot_Task" }, action: { kind: "fault", name: "NotSupported" } });
  t.equal((await host.vmmount(["umount", host.mountPoint])).code, 76);
  lab.rules.clear();
  const found = new Map<string, { from: number; to: number }>();
  let from = 0;
  for (const line of (await readFile(join(host.stateDir, "sessions", `${session}.journal`), "utf8")).split("\n")) {
    const to = from + Buffer.byteLength(line) + 1;
    const event = /"event":"([^"]+)"/.exec(line)?.[1];
    if (event !== undefined && !found.has(event)) found.set(event, { from, to });
    from = to;
  }
  t.equal((await host.vmmount(["gc", "--yes"])).code, 0);
  await nothingLeft(t, host, lab);
  return found;
}

await t.test("the disk runs full", { skip }, async (t) => {
  const records = await layout(t);
  t.same([...records.keys()], ["planned", "creating", "created", "serving", "unmounting", "removing", "leftover"]);
  /** How long the CA path has to be for the disk to run full in the middle of that record, with one page for the journal. */
  const tearing = (event: string): number => {
    const { from, to } = records.get(event) ?? { from: 0, to: 0 };
    return CA_CHARS + PAGE_BYTES - Math.round((from + to) / 2);
  };

  for (const event of ["creating", "created", "serving"]) {
    await t.test(`in the middle of "${event}": the mount fails, and takes back what it made`, async (t) => {
      const at = await stage(t);
      const { host, disk } = at;
      await disk.fillTo(1);
      lab.traffic.reset();
      checkRefusal(t, await host.vmmount(mountArgs(at, tearing(event))), FULL);
      const { methods } = lab.traffic.report();
      t.equal(methods["CreateSnapshotEx_Task"] ?? 0, event === "creating" ? 0 : 1);
      t.equal(methods["RemoveSnapshot_Task"] ?? 0, event === "creating" ? 0 : 1);
      await nothingLeft(t, host, lab);
      await clean(t, at);
    });
  }

  for (const event of ["unmounting", "removing"]) {
    await t.test(`in the middle of "${event}": umount removes mount and snapshot`, async (t) => {
      const at = await stage(t);
      const { host, disk } = at;
      await disk.fillTo(1);
      const { log } = await host.json<SessionStatus>(mountArgs(at, tearing(event)));
      const umount = await host.vmmount(["umount", host.mountPoint]);
      t.equal(umount.code, 0, umount.stderr);
      t.match(umount.stdout, /removed the snapshot/);
      t.equal((await stat(log)).size, 0, "nobody wrote to the disk but the journal");
      await nothingLeft(t, host, lab);
      await clean(t, at);
    });
  }

  await t.test("before the end of a session whose daemon was killed: umount cleans up", async (t) => {
    const at = await stage(t);
    const { host, disk } = at;
    const { pid } = await host.json<SessionStatus>(mountArgs(at, CA_CHARS));
    await disk.fillTo(0);
    process.kill(pid, "SIGKILL");
    const umount = await host.vmmount(["umount", host.mountPoint]);
    t.equal(umount.code, 0, umount.stderr);
    lab.expireSessions();
    await nothingLeft(t, host, lab);
    await clean(t, at);
  });

  await t.test('in the middle of "leftover": the torn line is in nobody\'s way', async (t) => {
    const at = await stage(t);
    const { host, disk } = at;
    await disk.fillTo(1);
    const { session } = await host.json<SessionStatus>(mountArgs(at, tearing("leftover")));
    lab.rules.add({ match: { method: "RemoveSnapshot_Task" }, action: { kind: "fault", name: "NotSupported" } });
    checkRefusal(t, await host.vmmount(["umount", host.mountPoint]), { exit: "leftover", says: /vmmount umount/ });
    lab.rules.clear();
    const journal = await readFile(join(host.stateDir, "sessions", `${session}.journal`), "utf8");
    t.equal(journal.length, PAGE_BYTES, "it ends where the disk did");
    t.match(journal.split("\n").at(-1), /^\{.*"event":"leftover"/, "in the middle of a record");
    t.match(await host.json(["status"]), { sessions: [{ session, alive: false, state: "removing" }] });
    const gc = await host.vmmount(["gc", "--yes"]);
    t.equal(gc.code, 0, `on the full disk: ${gc.stderr}`);
    await nothingLeft(t, host, lab);
    await clean(t, at);
  });

  for (const [what, pages, files] of [
    ["the first record", 0, undefined],
    ["the journal's name", undefined, 1],
    ["the log's name", undefined, 0],
  ] as const) {
    await t.test(`at ${what}: the server is asked for no snapshot`, async (t) => {
      const at = await stage(t);
      const { host, disk } = at;
      for (const folder of ["sessions", "logs"]) await mkdir(join(host.stateDir, folder));
      if (pages !== undefined) await disk.fillTo(pages);
      if (files !== undefined) await disk.takeFiles(files);
      lab.traffic.reset();
      checkRefusal(t, await host.vmmount(mountArgs(at, CA_CHARS)), FULL);
      t.equal(lab.traffic.report().methods["CreateSnapshotEx_Task"], undefined);
      await nothingLeft(t, host, lab);
      await clean(t, at);
    });
  }

  await t.test("at the first directory", async (t) => {
    const at = await stage(t);
    await at.disk.takeFiles(0);
    checkRefusal(t, await at.host.vmmount(mountArgs(at, CA_CHARS)), FULL);
    await nothingLeft(t, at.host, lab);
    await clean(t, at);
    await at.host.json(["mount", "name:tiny", at.host.mountPoint]);
    t.equal((await at.host.vmmount(["umount", at.host.mountPoint])).code, 0, "the next one works");
    await nothingLeft(t, at.host, lab);
  });
});

void t.test("the disk of runtime.dir is full", { skip }, async (t) => {
  const host = await ProxyHost.make(t, lab);
  const disk = await SmallDisk.at(t, host.runtimeDir);
  await mkdir(join(host.runtimeDir, "locks"));
  // The lock of the mount point is made; the VM's, and then the socket, are one more each.
  for (const files of [0, 1, 2]) {
    await disk.takeFiles(files);
    checkRefusal(t, await host.vmmount(["mount", "name:tiny", host.mountPoint]), {
      exit: "space",
      says: /"\/\S+\/run\/.*no room left.*Make room there, or set runtime\.dir/,
    });
    await nothingLeft(t, host, lab);
    await disk.makeRoom();
    for (const name of await readdir(join(host.runtimeDir, "locks"))) await rm(join(host.runtimeDir, "locks", name));
  }
  await disk.fillTo(0);
  await host.json(["mount", "name:tiny", host.mountPoint]);
  const umount = await host.vmmount(["umount", host.mountPoint]);
  t.equal(umount.code, 0, "no bytes are needed there, only names");
  await nothingLeft(t, host, lab);
});

/** With room again there is nothing to clean up. */
async function clean(t: Test, { host, disk }: Stage): Promise<void> {
  await disk.makeRoom();
  const gc = await host.vmmount(["gc", "--yes"]);
  t.equal(gc.code, 0, gc.stderr);
  t.match(gc.stdout, /^Nothing is left behind/);
}
