import { copyFile, rename } from "node:fs/promises";
import { join } from "node:path";
import t from "tap";
import type { GcReport } from "../../../src/gc/report.js";
import type { SessionStatus } from "../../../src/mount/control-protocol.js";
import { silentLogger } from "../../../src/log.js";
import { connectVsphere } from "../../../src/vsphere/connect.js";
import { labDirectory, labIn } from "../../fixtures/host/lab-host.js";
import { addMachine } from "../../fixtures/host/lab-machine.js";
import { ProxyHost } from "../../fixtures/host/proxy-host.js";
import { nothingLeft } from "../../fixtures/host/refusals.js";

/** What `vmmount gc` leaves alone while a mount is alive. */
const directory = await labDirectory(t);
await addMachine(directory, { folder: "tiny" });
const lab = await labIn(t, directory);
const vm = lab.vm("tiny");

void t.test("a mount whose journal was replaced, as by a restore of state.dir, goes on", async (t) => {
  const host = await ProxyHost.make(t, lab);
  const { session } = await host.json<SessionStatus>(["mount", "name:tiny", host.mountPoint]);
  const journal = join(host.stateDir, "sessions", `${session}.journal`);
  await copyFile(journal, `${journal}.restored`);
  await rename(`${journal}.restored`, journal);
  t.match(await host.json<GcReport>(["gc"]), {
    rows: [{ kind: "session", name: session, action: "left", reason: /its mount daemon, process \d+, is at work/ }],
  });
  t.same([(await host.mounts()).length, vm.snapshots.length], [1, 1]);
  const ended = await host.vmmount(["umount", host.mountPoint]);
  t.match([ended.code, vm.snapshots], [0, []], ended.stderr);
  await nothingLeft(t, host, lab);
});

void t.test("the disks of a mounted VM are not merged, also when they were asked for", async (t) => {
  const host = await ProxyHost.make(t, lab);
  const { session } = await host.json<SessionStatus>(["mount", "name:tiny", host.mountPoint]);
  await leaveDeltas();
  t.equal(vm.consolidationNeeded, true);
  const rows = [
    { kind: "snapshot", class: "live", action: "left" },
    { kind: "consolidation", vm: "/dc1/tiny", action: "left", reason: /it is mounted on/ },
  ];
  t.match(await host.json<GcReport>(["gc", "--consolidate"]), { rows });
  t.equal(lab.traffic.report().methods["ConsolidateVMDisks_Task"], undefined);
  t.equal((await host.vmmount(["umount", session])).code, 0);
  t.match(await host.json<GcReport>(["gc", "--consolidate"]), { rows: [] });
  await nothingLeft(t, host, lab);
});

/** As a backup of somebody else that does not merge what it leaves. */
async function leaveDeltas(): Promise<void> {
  const { url, user, password, fingerprint } = lab;
  const tls = { fingerprint, insecure: false };
  const { signal } = new AbortController();
  await using stranger = await connectVsphere({ url, user, password, tls, logger: silentLogger(), signal });
  const theirs = { name: "theirs", description: "", quiesce: false };
  const { ref } = await stranger.createSnapshot(vm.ref, theirs, { signal });
  const undo = lab.rules.add({ match: { method: "RemoveSnapshot_Task" }, action: { kind: "skipConsolidation" } });
  await stranger.removeSnapshot(ref, { signal });
  undo();
}
