import { readFile } from "node:fs/promises";
import { join } from "node:path";
import t, { type Test } from "tap";
import type { SessionStatus } from "../../../src/mount/control-protocol.js";
import type { Ended } from "../../fixtures/host/command-line.js";
import { FakeClock } from "../../fixtures/host/fake-clock.js";
import { labDirectory, labIn } from "../../fixtures/host/lab-host.js";
import { addMachine } from "../../fixtures/host/lab-machine.js";
import { ProxyHost } from "../../fixtures/host/proxy-host.js";
import { checkRefusal, nothingLeft } from "../../fixtures/host/refusals.js";
import { until } from "../../fixtures/host/until.js";

/** The clock of the proxy jumps; that of the server does not. Nothing ends for it, and nothing gets old. */
const directory = await labDirectory(t);
await addMachine(directory, { folder: "tiny" });
const lab = await labIn(t, directory);
const skip = FakeClock.missing;
/** Much shorter than the jump. */
const MAX_AGE = { VMMOUNT_SNAPSHOT_MAX_AGE: "1h" };

interface Stage {
  readonly host: ProxyHost;
  readonly clock: FakeClock;
  /** `vmmount ARGS` by that clock. */
  readonly vmmount: (args: readonly string[], env?: Readonly<Record<string, string>>) => Promise<Ended>;
}

async function stage(t: Test): Promise<Stage> {
  const host = await ProxyHost.make(t, lab);
  const clock = await FakeClock.in(host.directory);
  t.teardown(() => {
    lab.rules.clear();
  });
  lab.traffic.reset();
  const vmmount: Stage["vmmount"] = (args, env = {}) =>
    host.vmmount(args, { env: { ...clock.env, ...MAX_AGE, ...env } });
  return { host, clock, vmmount };
}

async function works(t: Test, run: Promise<Ended>): Promise<Ended> {
  const ended = await run;
  t.equal(ended.code, 0, ended.stdout + ended.stderr);
  return ended;
}

function snapshots(): number {
  return lab.vm("tiny").snapshots.length;
}

async function creating(method = "CreateSnapshotEx_Task"): Promise<void> {
  await until("the snapshot is being made", () => lab.traffic.report().methods[method] === 1);
}

for (const jump of ["+1d", "-1d"]) {
  void t.test(`${jump} during a mount: it goes on, and gc leaves it alone`, { skip }, async (t) => {
    const { host, clock, vmmount } = await stage(t);
    const { stdout } = await works(t, vmmount(["mount", "name:tiny", host.mountPoint, "--json"]));
    const status = JSON.parse(stdout) as SessionStatus;
    const before = Date.parse(status.startedAt);
    t.ok(Math.abs(before - Date.now()) < 60_000, "its clock was right");
    const image = join(host.mountPoint, "scsi0-0-flat.vmdk");
    const first = await readFile(image);
    await clock.jumpTo(jump);
    t.ok((await readFile(image)).equals(first), "it reads on");
    for (const rules of [[], ["--all-hosts"], ["--older-than", "1h"]]) {
      const { stdout } = await works(t, vmmount(["gc", "--yes", ...rules]));
      t.match(stdout, /left +snapshot.*a mount of this host uses it/);
    }
    t.equal(snapshots(), 1);
    t.match(JSON.parse((await works(t, vmmount(["status", "--json"]))).stdout), { sessions: [{ alive: true }] });
    await works(t, vmmount(["umount", host.mountPoint]));
    t.match(await readFile(status.log, "utf8"), jump === "+1d" ? dayOf(86_400_000) : dayOf(-86_400_000), "it jumped");
    await nothingLeft(t, host, lab);
  });

  void t.test(`${jump} while the snapshot is made: no time limit ends it`, { skip }, async (t) => {
    const { host, clock, vmmount } = await stage(t);
    lab.rules.add({ match: { method: "CreateSnapshotEx_Task" }, action: { kind: "taskDuration", ms: 3_000 } });
    const mount = vmmount(["mount", "name:tiny", host.mountPoint]);
    await creating();
    await clock.jumpTo(jump);
    await works(t, mount);
    await works(t, vmmount(["umount", host.mountPoint]));
    await nothingLeft(t, host, lab);
  });
}

void t.test("-1d while the snapshot is made: its time limit still ends it", { skip }, async (t) => {
  const { host, clock, vmmount } = await stage(t);
  lab.rules.add({ match: { method: "CreateSnapshot_Task" }, action: { kind: "taskDuration", ms: 600_000 } });
  const mount = vmmount(["mount", "name:tiny", host.mountPoint], {
    VMMOUNT_SNAPSHOT_TIMEOUT: "4s",
    VMMOUNT_QUIESCE: "off",
  });
  await creating("CreateSnapshot_Task");
  const began = performance.now();
  await clock.jumpTo("-1d");
  checkRefusal(t, await mount, { exit: "snapshot", says: /took longer than 4 s/ });
  t.ok(performance.now() - began < 30_000, "in time");
  await nothingLeft(t, host, lab);
});

void t.test("a kept snapshot expires by both clocks only", { skip }, async (t) => {
  const { host, clock, vmmount } = await stage(t);
  /** Made when the clock was `made`, looked at when it is `now`. */
  const judged = async (made: string, now: string, env = {}): Promise<string> => {
    await clock.jumpTo(made);
    await works(t, vmmount(["mount", "name:tiny", host.mountPoint, "--policy", "createonly"], env));
    await works(t, vmmount(["umount", host.mountPoint]));
    t.equal(snapshots(), 1);
    await clock.jumpTo(now);
    const { stdout } = await works(t, vmmount(["gc", "--yes"]));
    return /^(\w+) +snapshot/m.exec(stdout)?.[1] ?? stdout;
  };
  t.equal(await judged("+0", "+1d"), "left", "our clock alone");
  t.equal(await judged("+1d", "+0"), "left", "from the future");
  t.equal(await judged("-1d", "+0"), "left", "dated back; to the server it is new");
  t.equal(await judged("+0", "+0", { VMMOUNT_SNAPSHOT_MAX_AGE: "1ms" }), "removed", "both");
  t.equal(snapshots(), 0);
  await nothingLeft(t, host, lab);
});

/** How the log writes the day that is so far from today. */
function dayOf(offsetMs: number): RegExp {
  return new RegExp(new Date(Date.now() + offsetMs).toISOString().slice(0, 10));
}
