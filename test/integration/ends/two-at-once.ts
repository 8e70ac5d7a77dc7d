import { mkdir, rename } from "node:fs/promises";
import { join } from "node:path";
import t, { type Test } from "tap";
import type { SessionStatus } from "../../../src/mount/control-protocol.js";
import { labDirectory, labIn } from "../../fixtures/host/lab-host.js";
import { addMachine } from "../../fixtures/host/lab-machine.js";
import { ProxyHost } from "../../fixtures/host/proxy-host.js";
import { checkRefusal, nothingLeft } from "../../fixtures/host/refusals.js";
import { until } from "../../fixtures/host/until.js";

/** Several who find the same dead session, at the same moment: one removes its snapshot, and nobody fails for it. */
const directory = await labDirectory(t);
await addMachine(directory, { folder: "tiny" });
const lab = await labIn(t, directory);
/** Longer than anybody waits for a lock by chance. */
const REMOVAL_MS = 4_000;

interface Dead {
  readonly host: ProxyHost;
  readonly session: string;
  /** A free directory for another mount. */
  readonly elsewhere: string;
}

/** A session whose daemon was killed, on a server that takes its time to remove a snapshot. */
async function dead(t: Test): Promise<Dead> {
  const host = await ProxyHost.make(t, lab);
  const elsewhere = join(host.directory, "elsewhere");
  await mkdir(elsewhere);
  const { pid, session } = await host.json<SessionStatus>(["mount", "name:tiny", host.mountPoint]);
  process.kill(pid, "SIGKILL");
  lab.expireSessions();
  lab.rules.add({
    match: { method: "RemoveSnapshot_Task" },
    count: 1,
    action: { kind: "taskDuration", ms: REMOVAL_MS },
  });
  t.teardown(() => {
    lab.rules.clear();
  });
  lab.traffic.reset();
  return { host, session, elsewhere };
}

function removals(): number {
  return lab.traffic.report().methods["RemoveSnapshot_Task"] ?? 0;
}

async function removing(): Promise<void> {
  await until("somebody removes the snapshot", () => removals() > 0);
}

void t.test("two umounts", async (t) => {
  const { host, session } = await dead(t);
  const both = await Promise.all([host.vmmount(["umount", session]), host.vmmount(["umount", host.mountPoint])]);
  for (const { code, stderr } of both) t.equal(code, 0, stderr);
  t.match(both.map(({ stdout }) => stdout).join(""), /removed the snapshot/);
  t.equal(removals(), 1);
  await nothingLeft(t, host, lab);
});

void t.test("gc, and then umount", async (t) => {
  const { host, session } = await dead(t);
  const gc = host.vmmount(["gc", "--yes"]);
  await removing();
  const umount = await host.vmmount(["umount", session]);
  t.equal(umount.code, 0, umount.stderr);
  t.match(umount.stdout, /cleaned up already|is left on this host/);
  t.equal((await gc).code, 0);
  t.equal(removals(), 1);
  await nothingLeft(t, host, lab);
});

void t.test("gc, and then a new mount of the VM: it waits, and works", async (t) => {
  const { host, elsewhere } = await dead(t);
  const gc = host.vmmount(["gc", "--yes"]);
  await removing();
  const mount = await host.vmmount(["mount", "name:tiny", elsewhere]);
  t.equal(mount.code, 0, mount.stderr);
  t.equal((await gc).code, 0, (await gc).stdout);
  t.equal(removals(), 1);
  t.equal(lab.vm("tiny").snapshots.length, 1, "its own");
  t.equal((await host.vmmount(["umount", elsewhere])).code, 0);
  await nothingLeft(t, host, lab);
});

void t.test("a new mount of the VM, and then gc and umount of the dead session", async (t) => {
  const { host, session, elsewhere } = await dead(t);
  const mount = host.vmmount(["mount", "name:tiny", elsewhere]);
  await removing();
  const [gc, umount] = await Promise.all([host.vmmount(["gc", "--yes"]), host.vmmount(["umount", session])]);
  t.equal(gc.code, 0, gc.stdout + gc.stderr);
  t.equal(umount.code, 0, umount.stderr);
  t.match(umount.stdout, /cleaned up already|is left on this host/);
  t.equal((await mount).code, 0, (await mount).stderr);
  t.equal(removals(), 1);
  t.equal(lab.vm("tiny").snapshots.length, 1, "nobody took the living one's");
  t.equal((await host.vmmount(["umount", elsewhere])).code, 0);
  await nothingLeft(t, host, lab);
});

void t.test("gc, and then a new mount that is stopped while it waits", async (t) => {
  const { host, elsewhere } = await dead(t);
  const gc = host.vmmount(["gc", "--yes"]);
  await removing();
  let pid = 0;
  const mount = host.vmmount(["mount", "name:tiny", elsewhere], { onStart: (started) => (pid = started) });
  await until("it has a daemon of its own", async () => (await host.daemons()).length === 1);
  process.kill(pid, "SIGINT");
  t.equal((await mount).code, 130, (await mount).stderr);
  t.equal((await gc).code, 0, (await gc).stdout);
  t.equal(removals(), 1);
  await nothingLeft(t, host, lab);
});

void t.test(
  "umount of a dead session while its VM is mounted again: its directory is free, the rest waits",
  async (t) => {
    const { host, session, elsewhere } = await dead(t);
    const journal = join(host.stateDir, "sessions", `${session}.journal`);
    const aside = join(host.directory, "aside");
    // Otherwise the new mount would clean it up.
    await rename(journal, aside);
    t.equal((await host.vmmount(["mount", "name:tiny", elsewhere])).code, 0);
    await rename(aside, journal);
    const umount = await host.vmmount(["umount", session]);
    checkRefusal(t, umount, {
      exit: "busy",
      says: [new RegExp(`Session ${session} waits`), /is mounted on ".*elsewhere"/],
    });
    t.same(await host.mounts(), [elsewhere]);
    t.same(lab.vm("tiny").snapshots.length, 1, "nobody touched the living one's");
    for (const target of [elsewhere, session]) t.equal((await host.vmmount(["umount", target])).code, 0);
    await nothingLeft(t, host, lab);
  },
);
