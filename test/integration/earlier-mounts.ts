import { spawn } from "node:child_process";
import events from "node:events";
import { readdir } from "node:fs/promises";
import { join } from "node:path";
import t, { type Test } from "tap";
import type { ExitName } from "../../src/exit-codes.js";
import { SNAPSHOT_POLICIES, type SnapshotPolicy } from "../../src/settings.js";
import { labDirectory, labIn } from "../fixtures/host/lab-host.js";
import { addMachine } from "../fixtures/host/lab-machine.js";
import { NOTHING_LEFT, ProxyHost } from "../fixtures/host/proxy-host.js";
import { nothingLeft, refused } from "../fixtures/host/refusals.js";
import { until } from "../fixtures/host/until.js";

/** A mount of the VM is on the directory already, living or dead: policy x rule, as one table. */
const directory = await labDirectory(t);
await addMachine(directory, { folder: "tiny" });
const lab = await labIn(t, directory);
const vm = lab.vm("tiny");

type Outcome = "mounted" | Exclude<ExitName, "signal" | "ok">;

/** The earlier mount gives way; what it used goes with it under deleteonly, and then nothing is there to use. */
const GIVES_WAY: Readonly<Record<SnapshotPolicy, Outcome>> = {
  automatic: "mounted",
  createonly: "mounted",
  manual: "mounted",
  deleteonly: "not-found",
};
const TABLE = [
  ["living", "fail", "stays"],
  ["living", "repair", "stays"],
  ["living", "delete", "gives way"],
  ["dead", "fail", "stays"],
  ["dead", "repair", "gives way"],
  ["dead", "delete", "gives way"],
] as const;

async function killDaemons(host: ProxyHost): Promise<void> {
  for (const pid of await host.daemons()) process.kill(pid, "SIGKILL");
  await until("the daemon is gone", async () => (await host.daemons()).length === 0);
}

async function once(host: ProxyHost, policy: SnapshotPolicy): Promise<string> {
  const args = ["mount", "name:tiny", host.mountPoint, "--policy", policy];
  return (await host.json<{ snapshot: { name: string } }>(args)).snapshot.name;
}

async function umount(t: Test, host: ProxyHost): Promise<void> {
  const ended = await host.vmmount(["umount", "--all"]);
  t.equal(ended.code, 0, ended.stderr);
}

for (const policy of SNAPSHOT_POLICIES) {
  void t.test(`${policy}, over a mount of the same VM`, async (t) => {
    const host = await ProxyHost.make(t, lab);
    const names = (): string[] => vm.snapshots.map(({ name }) => name);
    let mounted: string | undefined;
    for (const [state, rule, what] of TABLE) {
      if (mounted === undefined && (policy === "manual" || policy === "deleteonly")) {
        await once(host, "createonly");
        await umount(t, host);
      }
      mounted ??= await once(host, policy);
      if (state === "dead") await killDaemons(host);
      const again = ["mount", "name:tiny", host.mountPoint, "--policy", policy, "--preexisting-mount", rule];
      const outcome = what === "stays" ? "busy" : GIVES_WAY[policy];
      await t.test(`a ${state} one, rule ${rule}: ${outcome}`, async (t) => {
        if (outcome !== "mounted") {
          await refused(t, host, again, { exit: outcome });
          t.strictSame(names(), what === "stays" ? [mounted] : []);
          if (what !== "stays") mounted = undefined;
          return;
        }
        const { snapshot } = await host.json<{ snapshot: { name: string } }>(again);
        t.strictSame(names(), [snapshot.name], "there is one snapshot");
        t.equal(snapshot.name === mounted, policy === "manual", "only manual uses the same one again");
        mounted = snapshot.name;
      });
    }
    await umount(t, host);
    const keeps = policy === "createonly" || policy === "manual";
    t.equal(names().length, keeps ? 1 : 0);
    if (keeps) {
      await once(host, "deleteonly");
      await umount(t, host);
    }
    // Killed daemons did not log out.
    lab.expireSessions();
    t.same([names(), await host.leftovers()], [[], NOTHING_LEFT]);
  });
}

void t.test("a living one that should give way, and is being read: it stays, and the new one fails", async (t) => {
  const host = await ProxyHost.make(t, lab);
  const first = await once(host, "automatic");
  const reader = spawn("sh", ["-c", `exec 7<'${join(host.mountPoint, "catalog.json")}'; echo; read -r _`], {
    stdio: "pipe",
  });
  t.teardown(() => reader.kill("SIGKILL"));
  await events.once(reader.stdout, "data");
  await refused(t, host, ["mount", "name:tiny", host.mountPoint, "--preexisting-mount", "delete"], {
    exit: "busy",
    says: /sh/,
  });
  t.strictSame(
    vm.snapshots.map(({ name }) => name),
    [first],
  );
  reader.stdin.end("\n");
  await events.once(reader, "close");
  t.ok((await readdir(host.mountPoint)).length > 0, "it serves on");
  await umount(t, host);
  await nothingLeft(t, host, lab);
});
