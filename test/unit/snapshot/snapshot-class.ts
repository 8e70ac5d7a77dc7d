import t from "tap";
import type { Snapshot } from "../../../src/hypervisor.js";
import { type HostMark, isElsewhere, isOfHost, thisBoot, thisHost } from "../../../src/snapshot/host.js";
import { describeOwnership, snapshotName } from "../../../src/snapshot/ownership.js";
import { classifySnapshot, type SnapshotClass, type Surroundings } from "../../../src/snapshot/snapshot-class.js";

const HERE: HostMark = { host: "backup1", hostId: "0123456789abcdef" };
const SESSION = "k3v9q2m7xa";
const DAY_MS = 24 * 60 * 60_000;
const MADE = new Date("2026-03-04T05:06:07Z");

const mark = (own: Partial<Parameters<typeof describeOwnership>[0]> = {}): string =>
  describeOwnership({
    version: "1",
    session: SESSION,
    ...HERE,
    mountPoint: "/m",
    created: MADE.toISOString(),
    policy: "automatic",
    maxAgeMs: 7 * DAY_MS,
    ...own,
  });

const snapshot = (own: Partial<Snapshot> = {}): Snapshot => ({
  ref: "snapshot-1",
  name: snapshotName(SESSION),
  description: mark(),
  createdAt: MADE,
  quiesced: false,
  depth: 1,
  ...own,
});

const around = (own: Partial<Surroundings> = {}): Surroundings => ({
  here: HERE,
  liveSessions: new Set(),
  usedSnapshots: new Set(),
  now: new Date(MADE.getTime() + DAY_MS),
  ...own,
});

void t.test("classifySnapshot() by mark, host, age and what lives here", (t) => {
  const old = { now: new Date(MADE.getTime() + 8 * DAY_MS) };
  const live = { liveSessions: new Set([SESSION]) };
  const other: HostMark = { host: "backup2", hostId: "fedcba9876543210" };
  const undescribed = snapshot({ description: "", lacksDescription: true });
  const cases: [Snapshot, Partial<Surroundings>, SnapshotClass, isPastMaxAge: boolean][] = [
    [snapshot({ name: "before the update", description: "" }), {}, "user", false],
    [snapshot({ name: "before the update", description: "" }), old, "user", false],
    [snapshot({ name: "nightly" }), {}, "user", false],
    [snapshot({ name: "before", description: "" }), { usedSnapshots: new Set(["snapshot-1"]) }, "live", false],
    [snapshot({ name: "_VCB-BACKUP_", description: "" }), {}, "unknown", false],
    [snapshot({ description: "edited" }), {}, "unknown", false],
    [undescribed, {}, "unknown", false],
    [undescribed, live, "live", false],
    [snapshot(), {}, "dead-local", false],
    [snapshot(), old, "dead-local", true],
    [snapshot(), live, "live", false],
    [snapshot(), { ...live, ...old }, "live", true],
    [
      snapshot({ description: mark({ policy: undefined, hostId: undefined, maxAgeMs: undefined }) }),
      old,
      "dead-local",
      false,
    ],
    [snapshot({ description: mark(other) }), {}, "foreign-host", false],
    [snapshot({ description: mark(other) }), old, "foreign-host", true],
    [snapshot({ description: mark({ ...HERE, hostId: other.hostId }) }), {}, "foreign-host", false],
    [snapshot({ description: mark({ ...other, policy: "createonly" }) }), old, "foreign-host", true],
    [snapshot({ description: mark({ policy: "createonly" }) }), {}, "kept", false],
    [snapshot({ description: mark({ policy: "createonly" }) }), old, "expired", true],
    [
      snapshot({ description: mark({ policy: "createonly" }) }),
      { usedSnapshots: new Set(["snapshot-1"]) },
      "live",
      false,
    ],
    // A mark from the future is not old.
    [snapshot({ description: mark({ policy: "createonly" }) }), { now: new Date(0) }, "kept", false],
  ];
  for (const [one, own, expected, isPastMaxAge] of cases) {
    t.match(classifySnapshot(one, around(own)), { class: expected, isPastMaxAge }, `${one.name} ${one.description}`);
  }
  t.end();
});

void t.test("this host knows itself, and no other of its name or its machine-id", (t) => {
  const here = thisHost();
  t.strictSame(thisHost(), here);
  t.match(here.hostId, /^[0-9a-f]{16}$/);
  t.ok(isOfHost(here, here));
  t.ok(isOfHost({ host: here.host }, here), "a mark of before there were host ids");
  t.notOk(isOfHost({ ...here, hostId: "0".repeat(16) }, here));
  t.notOk(isOfHost({ ...here, host: `${here.host}2` }, here));
  t.end();
});

void t.test("a journal is another machine's when neither its name nor its boot is ours", (t) => {
  const { host } = thisHost();
  t.equal(isElsewhere({ host: "elsewhere", boot: "another" }), true);
  t.equal(isElsewhere({ host, boot: "before a reboot" }), false);
  t.equal(isElsewhere({ host: `${host.toUpperCase()}.example.org`, boot: "before a reboot" }), false);
  t.equal(isElsewhere({ host: "an earlier name", boot: thisBoot() }), false);
  t.equal(isElsewhere({ host: "elsewhere" }), false, "of before boots were noted");
  t.end();
});
