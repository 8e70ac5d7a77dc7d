import t from "tap";
import { ageOf } from "../../../src/gc/age.js";
import { type GcRules, judgeSnapshot } from "../../../src/gc/verdict.js";
import type { Snapshot } from "../../../src/hypervisor.js";
import { describeOwnership, type Ownership, readOwnership } from "../../../src/snapshot/ownership.js";
import { classifySnapshot } from "../../../src/snapshot/snapshot-class.js";

const DAY = 86_400_000;
const NOW = Date.parse("2026-05-05T12:00:00Z");
const HERE = { host: "backup1", hostId: "0123456789abcdef" };
const SESSION = "k3v9q2m7xa";
const DEFAULT: GcRules = { allHosts: false, olderThanMs: undefined };
const ALL: GcRules = { allHosts: true, olderThanMs: undefined };

interface Case {
  readonly what: string;
  /** Of the snapshot, by the server's clock. */
  readonly ageMs: number;
  readonly mark?: Partial<Ownership>;
  readonly name?: string;
  readonly description?: string;
  readonly live?: boolean;
  readonly rules?: GcRules;
  readonly expect: readonly [string, "remove" | "leave" | "ignore"];
}

const WEEK = { maxAgeMs: 7 * DAY };
const OTHER = { host: "backup2", hostId: "fedcba9876543210", ...WEEK };
const KEPT = { policy: "createonly", ...WEEK } as const;

const CASES: readonly Case[] = [
  { what: "of a dead session", ageMs: DAY, mark: WEEK, expect: ["dead-local", "remove"] },
  { what: "of a dead session, a second old", ageMs: 1000, mark: WEEK, expect: ["dead-local", "remove"] },
  { what: "of a living session", ageMs: 30 * DAY, mark: WEEK, live: true, expect: ["live", "leave"] },
  {
    what: "younger than asked",
    ageMs: DAY,
    mark: WEEK,
    rules: { allHosts: false, olderThanMs: 2 * DAY },
    expect: ["dead-local", "leave"],
  },
  {
    what: "older than asked",
    ageMs: 3 * DAY,
    mark: WEEK,
    rules: { allHosts: false, olderThanMs: 2 * DAY },
    expect: ["dead-local", "remove"],
  },
  { what: "kept on purpose", ageMs: DAY, mark: KEPT, expect: ["kept", "leave"] },
  { what: "kept for too long", ageMs: 8 * DAY, mark: KEPT, expect: ["expired", "remove"] },
  { what: "kept without a limit", ageMs: 800 * DAY, mark: { policy: "createonly" }, expect: ["kept", "leave"] },
  { what: "of another host", ageMs: 30 * DAY, mark: OTHER, expect: ["foreign-host", "leave"] },
  {
    what: "of another host, all of them",
    ageMs: 30 * DAY,
    mark: OTHER,
    rules: ALL,
    expect: ["foreign-host", "remove"],
  },
  { what: "of another host, young", ageMs: DAY, mark: OTHER, rules: ALL, expect: ["foreign-host", "leave"] },
  {
    what: "of another host without a limit",
    ageMs: 900 * DAY,
    mark: { ...OTHER, maxAgeMs: undefined },
    rules: ALL,
    expect: ["foreign-host", "leave"],
  },
  {
    what: "of another host, older than asked and within its own limit",
    ageMs: 3 * DAY,
    mark: OTHER,
    rules: { allHosts: true, olderThanMs: 2 * DAY },
    expect: ["foreign-host", "remove"],
  },
  {
    what: "of another host, past its own limit and younger than asked",
    ageMs: 8 * DAY,
    mark: OTHER,
    rules: { allHosts: true, olderThanMs: 30 * DAY },
    expect: ["foreign-host", "leave"],
  },
  {
    what: "of a machine of our name that is another one",
    ageMs: 30 * DAY,
    mark: { hostId: "fedcba9876543210", ...WEEK },
    expect: ["foreign-host", "leave"],
  },
  { what: "a name without a mark", ageMs: 90 * DAY, description: "", rules: ALL, expect: ["unknown", "leave"] },
  {
    what: "an edited mark",
    ageMs: 90 * DAY,
    description: '{"tool":"vmmount"}',
    rules: ALL,
    expect: ["unknown", "leave"],
  },
  { what: "another tool's", ageMs: 90 * DAY, name: "_VCB-BACKUP_", rules: ALL, expect: ["unknown", "leave"] },
  { what: "renamed by its user", ageMs: 90 * DAY, name: "before upgrade", rules: ALL, expect: ["user", "ignore"] },
  { what: "dated in the future", ageMs: -900 * DAY, mark: KEPT, expect: ["kept", "leave"] },
];

function mark(own: Partial<Ownership>, created: number): string {
  const made = { version: "1", session: SESSION, mountPoint: "/mnt/b", created: new Date(created).toISOString() };
  return describeOwnership({ ...made, ...HERE, ...own });
}

function snapshotOf({ ageMs, mark: own = {}, name = `vmmount-${SESSION}`, description }: Case): Snapshot {
  const created = NOW - ageMs;
  return {
    ref: "snapshot-1",
    name,
    description: description ?? mark(own, created),
    createdAt: new Date(created),
    quiesced: false,
    depth: 1,
  };
}

for (const one of CASES) {
  void t.test(`${one.what}: ${one.expect.join(", ")}`, (t) => {
    const snapshot = snapshotOf(one);
    const clocks = { ours: new Date(NOW), theirs: new Date(NOW) };
    const ageMs = ageOf(snapshot, readOwnership(snapshot), clocks);
    const classified = classifySnapshot(snapshot, {
      here: HERE,
      liveSessions: new Set(one.live === true ? [SESSION] : []),
      usedSnapshots: new Set(),
      now: new Date(snapshot.createdAt.getTime() + (ageMs ?? 0)),
    });
    const verdict = judgeSnapshot(classified, ageMs, one.rules ?? DEFAULT);
    t.strictSame([classified.class, verdict?.act ?? "ignore"], one.expect);
    t.match(verdict?.reason ?? "none of ours", /\S/);
    t.end();
  });
}

void t.test("ageOf(): no clock that is off makes anything old", (t) => {
  const created = NOW - DAY;
  const at = { createdAt: new Date(created) };
  const made = { created: new Date(created).toISOString() };
  const years = 3650 * DAY;
  const age = (ours: number, theirs: number | undefined, snapshot = at, of: { created: string } | undefined = made) =>
    ageOf(snapshot, of, { ours: new Date(ours), theirs: theirs === undefined ? undefined : new Date(theirs) });
  t.equal(age(NOW, NOW), DAY);
  t.equal(age(NOW + years, NOW), DAY, "ours jumped ahead");
  t.equal(age(NOW - years, NOW), 0, "ours jumped back");
  t.equal(age(NOW, NOW + years), DAY, "the server's jumped ahead");
  t.equal(age(NOW, NOW - years), 0, "the server's jumped back");
  t.equal(age(NOW, undefined), DAY, "a server that does not tell");
  t.equal(age(NOW, NOW, { createdAt: new Date(NOW + years) }), 0, "a snapshot from the future");
  t.equal(age(NOW, NOW, at, { created: new Date(NOW + years).toISOString() }), 0, "a mark from the future");
  t.equal(age(NOW, NOW, at, { created: "yesterday" }), DAY, "a mark whose date cannot be read");
  t.equal(age(NOW, NOW, { createdAt: new Date(0) }), DAY, "a snapshot whose date cannot be read");
  t.equal(age(NOW, NOW, { createdAt: new Date(0) }, { created: "" }), undefined, "neither");
  t.end();
});
