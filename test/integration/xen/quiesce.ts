import { readFile } from "node:fs/promises";
import { join } from "node:path";
import t from "tap";
import type { Catalog } from "../../../src/catalog.js";
import type { ProfileName } from "../../../src/lab/xen/profile.js";
import type { SessionStatus } from "../../../src/mount/control-protocol.js";
import { NOTHING_LEFT, ProxyHost } from "../../fixtures/host/proxy-host.js";
import { refused } from "../../fixtures/host/refusals.js";
import { testPool } from "../../fixtures/xen/lab-pool.js";
import { countsAtRest } from "../../fixtures/xen/pool-at-rest.js";

/** A guest with the drivers for it ("web01") and one without on each release: what the snapshot is worth, and who is told. */
interface Case {
  readonly policy: "auto" | "require" | "off";
  readonly vm: "web01" | "db01";
  /** The guest fails to freeze, always. */
  readonly fails?: string;
  readonly consistency: "quiesced" | "crash" | "refused";
  /** Words of the warning or refusal; absent = there is none. */
  readonly says?: RegExp;
  /** Calls to the pool: quiesced snapshots and plain ones. */
  readonly calls: readonly [quiesced: number, plain: number];
}

const NONE_OFFERED = /offers no quiesced snapshot of it: releases from 8\.1 on have none/;

const CASES: Readonly<Record<ProfileName, readonly Case[]>> = {
  "7.1": [
    { policy: "require", vm: "web01", consistency: "quiesced", calls: [1, 0] },
    { policy: "auto", vm: "web01", consistency: "quiesced", calls: [1, 0] },
    { policy: "off", vm: "web01", consistency: "crash", calls: [0, 1] },
    {
      policy: "auto",
      vm: "web01",
      fails: "VM_SNAPSHOT_WITH_QUIESCE_TIMEOUT",
      consistency: "crash",
      says: /VM_SNAPSHOT_WITH_QUIESCE_TIMEOUT/,
      calls: [2, 1],
    },
    {
      policy: "require",
      vm: "web01",
      fails: "VM_SNAPSHOT_WITH_QUIESCE_FAILED",
      consistency: "refused",
      says: /could not flush and freeze.*VM_SNAPSHOT_WITH_QUIESCE_FAILED/,
      calls: [2, 0],
    },
    { policy: "require", vm: "db01", consistency: "refused", says: NONE_OFFERED, calls: [0, 0] },
    { policy: "auto", vm: "db01", consistency: "crash", says: NONE_OFFERED, calls: [0, 1] },
  ],
  "8.2": [{ policy: "require", vm: "web01", consistency: "refused", says: NONE_OFFERED, calls: [0, 0] }],
  "8.3": [
    { policy: "require", vm: "web01", consistency: "refused", says: NONE_OFFERED, calls: [0, 0] },
    { policy: "auto", vm: "web01", consistency: "crash", says: NONE_OFFERED, calls: [0, 1] },
  ],
};

for (const [profile, cases] of Object.entries(CASES) as [ProfileName, readonly Case[]][]) {
  void t.test(`release ${profile}`, async (t) => {
    const { lab } = await testPool(t, { profile });
    const host = await ProxyHost.make(t, lab);
    for (const { policy, vm, fails, consistency, says, calls } of cases) {
      await t.test(`${policy}, "${vm}"${fails === undefined ? "" : `, ${fails}`}: ${consistency}`, async (t) => {
        const before = await countsAtRest(lab);
        lab.traffic.reset();
        if (fails !== undefined) {
          lab.rules.add({
            match: { method: "VM.snapshot_with_quiesce" },
            action: { kind: "fault", name: fails, parameters: [lab.vm(vm).ref, "x"], where: "task" },
          });
        }
        const mount = ["mount", `/${vm}`, host.mountPoint, "--quiesce", policy];
        if (consistency === "refused") {
          await refused(t, host, mount, { exit: "quiesce", ...(says !== undefined && { says }) });
        } else {
          const ended = await host.vmmount([...mount, "--json"]);
          t.equal(ended.code, 0, ended.stderr);
          t.equal((JSON.parse(ended.stdout) as SessionStatus).snapshot.consistency, consistency);
          const catalog = JSON.parse(await readFile(join(host.mountPoint, "catalog.json"), "utf8")) as Catalog;
          t.equal(catalog.snapshot.consistency, consistency);
          const info = lab.pool.database.row("VM", lab.vm(vm).snapshots[0] ?? "")["snapshot_info"];
          const kind = consistency === "quiesced" ? "quiesced" : "crash_consistent";
          t.match(info, { "disk-snapshot-type": kind }, "the pool made it that way");
          const warning = ended.stderr.split("\n").find((line) => line.includes("crash-consistent, like a disk"));
          if (says === undefined) t.equal(warning, undefined, "there is no warning");
          else t.match(warning, says);
          t.match(await host.vmmount(["umount", host.mountPoint]), { code: 0 });
        }
        lab.rules.clear();
        const { methods } = lab.traffic.report();
        const made = ["VM.snapshot_with_quiesce", "VM.snapshot"].map((name) => methods[name] ?? 0);
        t.same(made, calls, "quiesced and plain snapshots");
        t.same(await countsAtRest(lab), before, "the pool is as before");
        t.same(await host.leftovers(), NOTHING_LEFT);
      });
    }
  });
}
