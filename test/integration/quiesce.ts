import { readFile } from "node:fs/promises";
import { join } from "node:path";
import t from "tap";
import type { Catalog } from "../../src/catalog.js";
import type { SessionStatus } from "../../src/mount/control-protocol.js";
import { addMachine } from "../fixtures/host/lab-machine.js";
import { labDirectory, labIn } from "../fixtures/host/lab-host.js";
import { ProxyHost } from "../fixtures/host/proxy-host.js";
import { nothingLeft, refused } from "../fixtures/host/refusals.js";

/** Every quiesce policy with every guest: what the snapshot is worth, who is told, and how often the guest is asked. */
const directory = await labDirectory(t);
await addMachine(directory, { folder: "guest" });
await addMachine(directory, { folder: "mute", settings: { toolsRunning: false } });
await addMachine(directory, { folder: "off", settings: { power: "off" } });
await addMachine(directory, { folder: "asleep", settings: { power: "suspended" } });
const lab = await labIn(t, directory);

interface Case {
  readonly policy: "auto" | "require" | "off" | undefined;
  readonly vm: "guest" | "mute" | "off" | "asleep";
  /** How many freezes of the guest fail. */
  readonly failing?: { readonly fault: string; readonly times: number | undefined };
  readonly consistency: "quiesced" | "crash" | "offline" | "refused";
  /** Words of the warning; absent = there is none. */
  readonly warns?: RegExp;
  /** Create calls: quiesced and plain ones. */
  readonly calls: readonly [quiesced: number, plain: number];
}

const always = (fault: string): NonNullable<Case["failing"]> => ({ fault, times: undefined });
const once = (fault: string): NonNullable<Case["failing"]> => ({ fault, times: 1 });
const APPLICATION = "ApplicationQuiesceFault";
const FILE_SYSTEM = "FilesystemQuiesceFault";

const CASES: readonly Case[] = [
  { policy: undefined, vm: "guest", consistency: "quiesced", calls: [1, 0] },
  { policy: "auto", vm: "guest", failing: once(APPLICATION), consistency: "quiesced", calls: [2, 0] },
  {
    policy: "auto",
    vm: "guest",
    failing: always(FILE_SYSTEM),
    consistency: "crash",
    warns: /FilesystemQuiesceFault/,
    calls: [2, 1],
  },
  { policy: "auto", vm: "mute", consistency: "crash", warns: /guest tools .*not running/, calls: [0, 1] },
  { policy: "auto", vm: "asleep", consistency: "crash", warns: /suspended/, calls: [0, 1] },
  { policy: "auto", vm: "off", consistency: "offline", calls: [0, 1] },
  { policy: "require", vm: "guest", consistency: "quiesced", calls: [1, 0] },
  { policy: "require", vm: "guest", failing: once(FILE_SYSTEM), consistency: "quiesced", calls: [2, 0] },
  { policy: "require", vm: "guest", failing: always(APPLICATION), consistency: "refused", calls: [2, 0] },
  { policy: "require", vm: "mute", consistency: "refused", calls: [0, 0] },
  { policy: "require", vm: "asleep", consistency: "refused", calls: [0, 0] },
  { policy: "require", vm: "off", consistency: "offline", calls: [0, 1] },
  { policy: "off", vm: "guest", failing: always(APPLICATION), consistency: "crash", calls: [0, 1] },
  { policy: "off", vm: "mute", consistency: "crash", calls: [0, 1] },
  { policy: "off", vm: "off", consistency: "offline", calls: [0, 1] },
];

for (const { policy, vm, failing, consistency, warns, calls } of CASES) {
  const guest = failing === undefined ? "" : `, ${failing.fault} ${failing.times === undefined ? "always" : "once"}`;
  void t.test(`${policy ?? "default"}, guest "${vm}"${guest}: ${consistency}`, async (t) => {
    const host = await ProxyHost.make(t, lab);
    t.teardown(() => {
      lab.rules.clear();
    });
    if (failing !== undefined) {
      lab.rules.add({
        match: { method: "CreateSnapshotEx_Task" },
        action: { kind: "fault", name: failing.fault, where: "task" },
        ...(failing.times !== undefined && { count: failing.times }),
      });
    }
    lab.traffic.reset();
    const mount = ["mount", `name:${vm}`, host.mountPoint, ...(policy === undefined ? [] : ["--quiesce", policy])];
    if (consistency === "refused") {
      await refused(t, host, mount, { exit: "quiesce", says: /Cannot quiesce/ });
    } else {
      const ended = await host.vmmount([...mount, "--json"]);
      t.equal(ended.code, 0, ended.stderr);
      t.equal((JSON.parse(ended.stdout) as SessionStatus).snapshot.consistency, consistency);
      const catalog = JSON.parse(await readFile(join(host.mountPoint, "catalog.json"), "utf8")) as Catalog;
      t.equal(catalog.snapshot.consistency, consistency);
      t.match(lab.vm(vm).snapshots, [{ quiesced: consistency === "quiesced" }], "the server sees it the same way");
      const warning = ended.stderr.split("\n").find((line) => line.includes("crash-consistent, like a disk"));
      if (warns === undefined) t.equal(warning, undefined, "there is no warning");
      else t.match(warning, warns);
      const umount = await host.vmmount(["umount", host.mountPoint]);
      t.equal(umount.code, 0, umount.stderr);
    }
    const { CreateSnapshotEx_Task: quiesced = 0, CreateSnapshot_Task: plain = 0 } = lab.traffic.report().methods;
    t.same([quiesced, plain], calls, "quiesced and plain create calls");
    await nothingLeft(t, host, lab);
  });
}
