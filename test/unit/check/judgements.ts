import { hostname } from "node:os";
import t from "tap";
import { judgePort } from "../../../src/check/host-ports.js";
import { sizeText } from "../../../src/check/room.js";
import { judgeCertificate } from "../../../src/check/server-certificate.js";
import { judgeClock } from "../../../src/check/server-clock.js";
import { judgeRight } from "../../../src/check/server-rights.js";
import { judgeRoom } from "../../../src/check/storage-room.js";
import { judgeSnapshots } from "../../../src/check/vm-snapshots.js";
import { judgeVm } from "../../../src/check/vm-state.js";
import { UnreachableError } from "../../../src/errors.js";
import type { HostPort } from "../../../src/health.js";
import type { Snapshot, VmDescription } from "../../../src/hypervisor.js";
import { describeOwnership, snapshotName } from "../../../src/snapshot/ownership.js";
import { GIB, MIB } from "../../../src/units.js";
import { contents } from "../../fixtures/vm/contents.js";

const NOW = Date.parse("2026-06-01T00:00:00Z");
const DAY_MS = 86_400_000;
const { vm } = contents();

void t.test("certificates: trusted how, and for how long", (t) => {
  const seen = (days: number, trust: Parameters<typeof judgeCertificate>[0]["trust"] = "system") =>
    judgeCertificate({ sha256: "AA", validTo: new Date(NOW + days * DAY_MS), trust }, NOW);
  t.match(seen(30), { state: "ok", text: /a CA of this system signed it, and ends in 30 days/ });
  t.match(seen(29), { state: "warn", hint: /Renew/ });
  t.match(seen(-2, "fingerprint"), { state: "warn", text: /pinned, but it ended 2 days ago/ });
  t.match(seen(400, "insecure"), { state: "warn", hint: /--fingerprint AA/ });
  t.match(seen(Number.NaN, "ca"), { state: "warn", text: /no end that can be read/ });
  const untrusted = seen(1, new UnreachableError("Cannot trust it", { hint: "Pin it" }));
  t.match(untrusted, { state: "fail", exit: "connect", text: "Cannot trust it", hint: "Pin it" });
  t.end();
});

void t.test("clocks", (t) => {
  t.match(judgeClock(NOW + 400, NOW), { state: "ok", text: /agree/ });
  t.match(judgeClock(NOW - 60_000, NOW), { state: "ok", text: /60 s behind/ });
  t.match(judgeClock(NOW + 61_000, NOW), { state: "warn", text: /61 s ahead/, hint: /NTP/ });
  t.match(judgeClock(Number.NaN, NOW), { state: "warn" });
  t.end();
});

void t.test("rights: what a backup needs fails, what makes it better warns, other commands are told of", (t) => {
  const right = { name: "A.B", on: "vm", object: 'VM "x"', purpose: "do it", remedy: "Grant it" } as const;
  t.match(judgeRight({ ...right, need: "backup", isGranted: true }), { id: "privilege.A.B@vm", state: "ok" });
  const missing = {
    state: "fail",
    exit: "auth",
    text: 'A.B is missing on VM "x": it is needed to do it',
    hint: "Grant it",
  };
  t.match(judgeRight({ ...right, need: "backup", isGranted: false }), missing);
  t.match(judgeRight({ ...right, need: "better", isGranted: false }), { state: "warn" });
  t.match(judgeRight({ ...right, need: "other", isGranted: false }), { state: "skip" });
  t.end();
});

void t.test("ports: closed ones fail where nothing else is left", (t) => {
  const port: HostPort = { host: "esx1", address: "::1", port: 902, transports: ["nbdssl", "nbd"] };
  t.match(judgePort(port, ["nbdssl"], undefined), {
    id: "port.902",
    state: "ok",
    text: /^\[::1\]:902 of host "esx1" answers/,
  });
  t.match(judgePort(port, ["nbdssl", "https"], "ECONNREFUSED"), { state: "warn", text: /https is left/ });
  t.match(judgePort(port, ["https"], "ECONNREFUSED"), { state: "skip", text: /https is what is used/ });
  t.match(judgePort(port, ["nbdssl", "nbd"], "ECONNREFUSED"), { state: "fail", exit: "connect", text: /ECONNREFUSED/ });
  t.end();
});

void t.test("room", (t) => {
  const room = { name: 'datastore "ds1"', type: "VMFS", totalBytes: 100 * GIB, snapshotBytes: 0 };
  t.match(judgeRoom({ ...room, freeBytes: 10 * GIB }), { state: "ok", text: /10 GiB free of 100 GiB \(10 %\)/ });
  t.match(judgeRoom({ ...room, freeBytes: 9 * GIB }), { state: "warn" });
  t.match(judgeRoom({ ...room, freeBytes: 15 * MIB }), { state: "fail", exit: "space", text: /takes 16 MiB/ });
  t.match(judgeRoom({ ...room, freeBytes: 20 * GIB, snapshotBytes: 21 * GIB }), { state: "fail", exit: "space" });
  t.match(judgeRoom({ ...room, freeBytes: undefined }), { state: "skip" });
  t.strictSame([1, 1.5 * MIB, 2 * 1024 * GIB].map(sizeText), ["0 KiB", "1.5 MiB", "2 TiB"]);
  t.end();
});

const snapshot = (own: Partial<Snapshot> = {}): Snapshot => ({
  ...{ ref: "snapshot-1", name: "before the update", description: "", quiesced: false, depth: 1 },
  ...{ createdAt: new Date(NOW - DAY_MS), ...own },
});

const ours = (session: string, host: string): Snapshot =>
  snapshot({
    name: snapshotName(session),
    description: describeOwnership({ version: "1", session, host, mountPoint: "/mnt", created: "" }),
  });

void t.test("snapshots: number, chain, age and leftovers", (t) => {
  const judged = (snapshots: readonly Snapshot[], own: Partial<VmDescription> = {}, chainMax = 30) => {
    const view = { vm: { ...vm, ...own }, snapshots, chainMax, live: new Set(["k3v9q2m7xa"]), now: NOW };
    return Object.fromEntries(judgeSnapshots(view).map((finding) => [finding.id, finding]));
  };
  t.match(judged([]), {
    "vm.snapshots": { state: "ok" },
    "vm.snapshot-age": { state: "ok" },
    "vm.leftover": { state: "ok" },
  });
  const many = [1, 2, 3, 4].map((day) => snapshot({ createdAt: new Date(NOW - (day + 4) * DAY_MS) }));
  t.equal(judged(many.slice(0, 3))["vm.snapshots"]?.state, "ok");
  t.equal(judged(many.slice(0, 3))["vm.snapshot-age"]?.state, "ok");
  t.match(judged(many), {
    "vm.snapshots": { state: "warn" },
    "vm.snapshot-age": { state: "warn", text: /is 8 days old/ },
  });
  t.equal(many[3]?.createdAt.getTime(), NOW - 8 * DAY_MS, "the order of the snapshots is as before");
  const deep = (depth: number): Partial<VmDescription> => ({
    disks: vm.disks.slice(0, 1).map((disk) => ({ ...disk, parents: Array.from({ length: depth }, String) })),
  });
  t.equal(judged([], deep(3))["vm.chain"]?.state, "ok");
  t.equal(judged([], deep(4))["vm.chain"]?.state, "warn");
  t.match(judged([], deep(30))["vm.chain"], { state: "fail", exit: "snapshot", text: /from 30 on/ });
  t.equal(judged([ours("k3v9q2m7xa", hostname())])["vm.leftover"]?.state, "ok", "its mount lives");
  t.match(judged([ours("aaaaaaaaaa", hostname())])["vm.leftover"], { state: "warn", hint: /umount aaaaaaaaaa/ });
  t.match(judged([ours("aaaaaaaaaa", "other")])["vm.leftover"], { state: "warn", text: /host "other"/ });
  t.end();
});

void t.test("what the description of a VM says", (t) => {
  const judged = (own: Partial<VmDescription>, more: Partial<Parameters<typeof judgeVm>[0]> = {}) => {
    const settings = { "snapshot.quiesce": "auto" as const };
    const view = { vm: { ...vm, ...own }, kind: "vsphere" as const, settings, usable: ["https"] as const, ...more };
    return Object.fromEntries(judgeVm(view).map((finding) => [finding.id, finding]));
  };
  t.match(judged({ toolsRunning: true, changeTracking: true }), {
    "vm.power": { state: "ok" },
    "vm.quiesce": { state: "ok" },
    "vm.change-tracking": { state: "ok" },
    "vm.consolidation": { state: "ok" },
    "vm.snapshot": { state: "ok" },
  });
  t.match(
    judged({ toolsRunning: false, changeTracking: false, consolidationNeeded: true, snapshotObstacles: ["no"] }),
    {
      "vm.quiesce": { state: "warn" },
      "vm.change-tracking": { state: "warn", text: /every byte is read/ },
      "vm.consolidation": { state: "warn" },
      "vm.snapshot": { state: "fail", exit: "snapshot", text: /will fail: no/ },
    },
  );
  const require = { settings: { "snapshot.quiesce": "require" as const } };
  t.match(judged({ toolsRunning: false }, require)["vm.quiesce"], { state: "fail", exit: "quiesce" });
  t.match(judged({ runningSigns: ["a lock"] }, { kind: "dir" }), {
    "vm.power": { state: "warn", text: /a lock/ },
    "vm.snapshot": { state: "skip" },
  });
  const [disk] = vm.disks;
  if (disk === undefined) throw new Error("the fixture has no disk");
  const states = (own: object, more = {}) =>
    Object.values(judged({ disks: [{ ...disk, excludedBecause: undefined, parents: [], ...own }] }, more)).filter(
      ({ id }) => id.startsWith("vm.disk."),
    );
  t.match(states({}), [{ state: "ok" }]);
  t.match(states({ excludedBecause: "independent" }), [{ state: "warn", text: /independent/ }]);
  t.match(states({ unreadableBecause: "gone" }), [{ state: "fail", exit: "unavailable" }]);
  t.match(states({ parents: ["base"] }), [{ state: "fail", exit: "unavailable", text: /older snapshot/ }]);
  t.match(states({ parents: ["base"] }, { usable: ["nbdssl", "https"] }), [{ state: "ok" }]);
  t.match(states({ parents: ["base"] }, { kind: "xen", usable: ["nbd"] }), [{ state: "ok" }]);
  t.end();
});
