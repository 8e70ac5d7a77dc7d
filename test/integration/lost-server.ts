import { spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import t, { type Test } from "tap";
import type { SessionStatus } from "../../src/mount/control-protocol.js";
import { MIB } from "../../src/units.js";
import { labDirectory } from "../fixtures/host/lab-host.js";
import { LabProcess } from "../fixtures/host/lab-process.js";
import { NOTHING_LEFT, ProxyHost } from "../fixtures/host/proxy-host.js";
import { checkRefusal } from "../fixtures/host/refusals.js";
import { until } from "../fixtures/host/until.js";

/** The server goes away while an agent reads: read.* have their defaults here. */
const END_WITHIN_MS = 60_000;
const DISK = "scsi0-0-flat.vmdk";
/** Every byte crosses the network, slowly enough to be in the middle of the disk for some seconds. */
const MOUNT = ["--allocation", "off"];
const SLOW = {
  match: { method: "GET", path: "/folder/" },
  action: { kind: "bandwidth", bytesPerSecond: 2 * MIB },
} as const;

// They wait for time limits most of the time.
t.jobs = 3;

interface Reader {
  readonly bytes: () => number;
  readonly ended: Promise<{ code: number | null; stderr: string; ms: number }>;
}

/** An agent that copies the disk; `ms` counts from `since()`. */
function startReader(path: string, since: () => number): Reader {
  const child = spawn("cat", [path], { stdio: ["ignore", "pipe", "pipe"] });
  let bytes = 0;
  let stderr = "";
  child.stdout.on("data", (chunk: Buffer) => (bytes += chunk.length));
  child.stderr.setEncoding("utf8").on("data", (text: string) => (stderr += text));
  const ended = once(child, "close").then(([code]) => ({
    code: code as number | null,
    stderr,
    ms: performance.now() - since(),
  }));
  return { bytes: () => bytes, ended };
}

async function mountAndRead(
  t: Test,
): Promise<{ lab: LabProcess; directory: string; host: ProxyHost; session: string; reader: Reader; lost: () => void }> {
  const directory = await labDirectory(t);
  const lab = await LabProcess.start(t, directory);
  await lab.load({ rules: [SLOW] });
  const host = await ProxyHost.make(t, lab.server);
  const { session } = await host.json<SessionStatus>(["mount", "name:web01", host.mountPoint, ...MOUNT]);
  let lostAt = 0;
  const reader = startReader(join(host.mountPoint, DISK), () => lostAt);
  await until("the agent is in the middle of the disk", () => reader.bytes() > 8 * MIB);
  const lost = (): void => {
    lostAt = performance.now();
  };
  return { lab, directory, host, session, reader, lost };
}

void t.test(
  "the server is killed: the agent gets an error, the snapshot is removed when the server is back",
  async (t) => {
    const { lab, directory, host, session, reader, lost } = await mountAndRead(t);
    lost();
    lab.signal("SIGKILL");
    await lab.ended();
    const { code, stderr, ms } = await reader.ended;
    t.not(code, 0, "the agent's copy fails");
    t.match(stderr, /Input\/output error/);
    t.ok(ms < END_WITHIN_MS, `it took ${Math.round(ms)} ms`);
    t.comment(`killed server: the agent's read failed after ${Math.round(ms)} ms`);
    t.ok(reader.bytes() < 128 * MIB);

    const live = await host.json<{ sessions: { alive: boolean; degraded?: string }[] }>(["status"]);
    t.match(live.sessions, [{ alive: true, degraded: /scsi0-0.*connection/ }], "status shows what is wrong");
    const began = performance.now();
    checkRefusal(t, await host.vmmount(["umount", host.mountPoint]), {
      exit: "leftover",
      says: [new RegExp(`vmmount-${session}`), new RegExp(`vmmount umount ${session}`), /reader had got an I\/O error/],
    });
    t.comment(`umount without a server took ${Math.round(performance.now() - began)} ms`);
    t.ok(performance.now() - began < END_WITHIN_MS);
    t.same(await host.mounts(), [], "the mount itself is gone");
    const dead = await host.json<{ sessions: unknown[] }>(["status"]);
    t.match(dead.sessions, [
      { alive: false, session, state: "leftover", problem: /snapshot was left.*connection refused/ },
    ]);
    const shown = await host.vmmount(["status"]);
    t.match(shown.stdout, new RegExp(`run "vmmount umount ${session}"`));

    const { port } = new URL(lab.facts.url);
    const back = await LabProcess.start(t, directory, `127.0.0.1:${port}`);
    t.equal(back.facts.fingerprint, lab.facts.fingerprint);
    t.same(await back.snapshots("web01"), [`vmmount-${session}`], "the snapshot outlived the server");
    const umount = await host.vmmount(["umount", session]);
    t.equal(umount.code, 0, umount.stderr);
    t.match(umount.stdout, /removed the snapshot/);
    t.same(await back.snapshots("web01"), []);
    t.same(await host.leftovers(), NOTHING_LEFT);
  },
);

void t.test("the server hangs without a word: the agent gets an error all the same", { buffered: true }, async (t) => {
  const { lab, host, reader, lost } = await mountAndRead(t);
  lost();
  lab.signal("SIGSTOP");
  const { code, stderr, ms } = await reader.ended;
  t.not(code, 0, "the agent's copy fails");
  t.match(stderr, /Input\/output error/);
  t.ok(ms < END_WITHIN_MS, `it took ${Math.round(ms)} ms`);
  t.comment(`hanging server: the agent's read failed after ${Math.round(ms)} ms`);
  lab.signal("SIGCONT");
  checkRefusal(t, await host.vmmount(["umount", host.mountPoint]), { exit: "io", says: /not complete/ });
  t.same(await lab.snapshots("web01"), []);
  t.same(await host.leftovers(), NOTHING_LEFT);
});

void t.test("umount while the server hangs ends, and tells what is left", { buffered: true }, async (t) => {
  const directory = await labDirectory(t);
  const lab = await LabProcess.start(t, directory);
  const host = await ProxyHost.make(t, lab.server, `[retry]\nmax = 0\n`);
  const { session } = await host.json<SessionStatus>(["mount", "name:web01", host.mountPoint]);
  lab.signal("SIGSTOP");
  const began = performance.now();
  checkRefusal(t, await host.vmmount(["umount", host.mountPoint]), {
    exit: "leftover",
    says: [new RegExp(`vmmount-${session}`), new RegExp(`vmmount umount ${session}`)],
  });
  const ms = performance.now() - began;
  t.comment(`umount with a hanging server took ${Math.round(ms)} ms`);
  t.ok(ms < 90_000, "one call's time and a little");
  lab.signal("SIGCONT");
  const umount = await host.vmmount(["umount", session]);
  t.equal(umount.code, 0, umount.stderr);
  t.same(await lab.snapshots("web01"), []);
  t.same(await host.leftovers(), NOTHING_LEFT);
});
