import { copyFile, rename } from "node:fs/promises";
import { join } from "node:path";
import t from "tap";
import type { GcReport } from "../../../src/gc/report.js";
import type { SessionStatus } from "../../../src/mount/control-protocol.js";
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
