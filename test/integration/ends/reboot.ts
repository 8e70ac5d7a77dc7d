import { type ChildProcess, spawn } from "node:child_process";
import { readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import t, { type Test } from "tap";
import type { SessionStatus } from "../../../src/mount/control-protocol.js";
import { decodeRecord, encodeRecord } from "../../../src/snapshot/journal-record.js";
import { run } from "../../fixtures/host/command-line.js";
import { labDirectory, labIn } from "../../fixtures/host/lab-host.js";
import { addMachine } from "../../fixtures/host/lab-machine.js";
import { ProxyHost } from "../../fixtures/host/proxy-host.js";
import { nothingLeft } from "../../fixtures/host/refusals.js";

/** After a reboot there is the journal and nothing else, and the pid in it may be anybody's. */
const directory = await labDirectory(t);
await addMachine(directory, { folder: "tiny" });
const lab = await labIn(t, directory);

interface Rebooted {
  readonly host: ProxyHost;
  readonly session: string;
  /** Has the pid that the journal names. */
  readonly stranger: ChildProcess;
}

/** A stranger that looks as much like a mount daemon as anything can that is none. */
function startStranger(t: Test, session: string): ChildProcess {
  const script = "process.on('SIGTERM', () => process.exit(7)); setInterval(() => {}, 1000)";
  const stranger = spawn(process.execPath, ["-e", script, "daemon", `not-${session}`, "/mnt"], { stdio: "ignore" });
  t.teardown(() => stranger.kill("SIGKILL"));
  return stranger;
}

async function rebooted(t: Test): Promise<Rebooted> {
  const host = await ProxyHost.make(t, lab);
  const { pid, session } = await host.json<SessionStatus>(["mount", "name:tiny", host.mountPoint]);
  process.kill(pid, "SIGKILL");
  await run("umount", ["-l", host.mountPoint]);
  await rm(host.runtimeDir, { recursive: true });
  lab.expireSessions();
  const stranger = startStranger(t, session);
  const path = join(host.stateDir, "sessions", `${session}.journal`);
  const records = (await readFile(path, "utf8")).trimEnd().split("\n").map(decodeRecord);
  const lines = records.map((record) => {
    if (record?.event !== "planned") return record === undefined ? "" : encodeRecord(record);
    return encodeRecord({ ...record, facts: { ...record.facts, pid: stranger.pid ?? 0 } });
  });
  await writeFile(path, lines.join(""));
  t.match(await host.json(["status"]), { sessions: [{ session, alive: false, problem: /daemon is gone/ }] });
  return { host, session, stranger };
}

async function clean(t: Test, { host, stranger }: Rebooted): Promise<void> {
  t.same([stranger.exitCode, stranger.signalCode], [null, null], "the stranger lives");
  await nothingLeft(t, host, lab);
}

void t.test("gc removes the snapshot", async (t) => {
  const at = await rebooted(t);
  const gc = await at.host.vmmount(["gc", "--yes"]);
  t.equal(gc.code, 0, gc.stdout + gc.stderr);
  await clean(t, at);
});

for (const force of [[], ["--force"]]) {
  void t.test(["umount of the directory removes the snapshot", ...force].join(" "), async (t) => {
    const at = await rebooted(t);
    const umount = await at.host.vmmount(["umount", at.host.mountPoint, ...force]);
    t.equal(umount.code, 0, umount.stderr);
    t.match(umount.stdout, /removed the snapshot/);
    await clean(t, at);
  });
}

void t.test("the next mount of the VM removes the snapshot before it makes its own", async (t) => {
  const at = await rebooted(t);
  const { host, session } = at;
  const next = await host.json<SessionStatus>(["mount", "name:tiny", host.mountPoint]);
  t.same(
    lab.vm("tiny").snapshots.map(({ name }) => name),
    [`vmmount-${next.session}`],
  );
  t.same(await host.journals(), [`${next.session}.journal`], `not ${session}`);
  t.equal((await host.vmmount(["umount", host.mountPoint])).code, 0);
  await clean(t, at);
});
