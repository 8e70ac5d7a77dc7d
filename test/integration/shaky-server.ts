import { join } from "node:path";
import t from "tap";
import type { RuleInput } from "../../src/lab/rules.js";
import type { SessionStatus } from "../../src/mount/control-protocol.js";
import { run } from "../fixtures/host/command-line.js";
import { labFor } from "../fixtures/host/lab-host.js";
import { ProxyHost } from "../fixtures/host/proxy-host.js";
import { nothingLeft } from "../fixtures/host/refusals.js";

/** Trouble that passes while an agent reads: the copy is right and the agent hears nothing of it. */
const lab = await labFor(t);
const GET = { method: "GET", path: "/folder/web01/web01-flat.vmdk" };

const TROUBLE: Readonly<Record<string, readonly RuleInput[]>> = {
  "connections that break in mid-body": [
    // No more than read.retries: one read may meet all of them.
    { match: GET, skip: 3, count: 5, probability: 0.5, action: { kind: "cut", afterBytes: 300_000 } },
  ],
  "a server that is busy at times": [
    { match: GET, skip: 2, count: 3, action: { kind: "status", status: 503 } },
    { match: GET, skip: 12, count: 3, action: { kind: "status", status: 503 } },
  ],
  "sessions that end": [{ match: GET, skip: 5, count: 4, probability: 0.4, action: { kind: "expireSessions" } }],
  "answers that never come": [{ match: GET, skip: 4, count: 3, action: { kind: "drop", when: "before" } }],
};

for (const [what, rules] of Object.entries(TROUBLE)) {
  void t.test(`${what} do not show in the copy`, async (t) => {
    const host = await ProxyHost.make(t, lab);
    t.teardown(() => {
      lab.rules.clear();
    });
    const vm = lab.vm("web01");
    await host.json(["mount", "name:web01", host.mountPoint, "--allocation", "off"]);
    const stops = rules.map((rule) => lab.rules.add(rule));
    const sum = await run("sha256sum", [join(host.mountPoint, "scsi0-0-flat.vmdk")]);
    const acted = stops.reduce((total, stop) => total + stop(), 0);
    t.equal(sum.code, 0, sum.stderr);
    t.ok(acted > 0, `${acted} requests met trouble`);
    t.equal(sum.stdout.slice(0, 64), await vm.hashDisk(vm.disks[0]?.key ?? 0, vm.snapshots[0]?.ref ?? ""));
    const { sessions } = await host.json<{ sessions: SessionStatus[] }>(["status"]);
    t.equal(sessions[0]?.degraded, undefined);
    t.equal(sessions[0]?.traffic.errors, 0);
    const umount = await host.vmmount(["umount", host.mountPoint]);
    t.equal(umount.code, 0, umount.stderr);
    await nothingLeft(t, host, lab);
  });
}
