import t from "tap";
import { judgeImport, type SeenImport } from "../../../src/gc/imports.js";
import type { GcRules } from "../../../src/gc/verdict.js";
import type { FoundImport } from "../../../src/hypervisor.js";

const DAY = 86_400_000;
const DEFAULT: GcRules = { allHosts: false, olderThanMs: undefined };
const FOUND: FoundImport = {
  task: "OpaqueRef:1",
  description: "",
  startedAt: undefined,
  state: "forgotten",
  vms: [{ ref: "u", name: "web01" }],
  disks: 1,
  usedBecause: undefined,
};
const FACTS = { url: "xen://pool", task: "OpaqueRef:1", backup: "/b/web01.xva", started: "2026-05-05T12:00:00Z" };

interface Case {
  readonly what: string;
  readonly found?: Partial<FoundImport>;
  /** What this host knows; undefined: nothing. */
  readonly step?: "sending" | "sent" | "failed";
  readonly class?: SeenImport["class"];
  readonly rules?: GcRules;
  readonly ageMs?: number;
  readonly act: "remove" | "leave";
}

const CASES: readonly Case[] = [
  { what: "died while it was sent", step: "sending", act: "remove" },
  { what: "died at the end of what is sent", step: "sent", act: "leave" },
  { what: "failed, and could not be cleaned up", step: "failed", act: "remove" },
  { what: "the pool says that it failed", step: "sent", found: { state: "failed" }, act: "remove" },
  { what: "the pool says that it is complete", step: "sending", found: { state: "complete" }, act: "leave" },
  { what: "the pool is at work", step: "sending", found: { state: "working" }, act: "leave" },
  { what: "a process of this host is at work", step: "sending", class: "live", act: "leave" },
  { what: "somebody started the VM", step: "sending", found: { usedBecause: "it runs" }, act: "leave" },
  { what: "failed here, and this host has no record", found: { state: "failed" }, act: "remove" },
  { what: "forgotten, and nobody has a record", act: "leave" },
  { what: "another host's that failed", class: "foreign-host", found: { state: "failed" }, act: "leave" },
  {
    what: "another host's that failed, when asked for",
    class: "foreign-host",
    found: { state: "failed" },
    rules: { allHosts: true, olderThanMs: undefined },
    act: "remove",
  },
  {
    what: "younger than asked",
    step: "sending",
    ageMs: DAY,
    rules: { allHosts: true, olderThanMs: 2 * DAY },
    act: "leave",
  },
];

void t.test("only what cannot be a whole VM is removed", (t) => {
  for (const { what, found, step, class: kind = "dead-local", rules = DEFAULT, ageMs = DAY, act } of CASES) {
    const entry = step && {
      id: "k3v9q2m7xa",
      facts: FACTS,
      step: step === "sending" ? undefined : step,
      isLive: false,
    };
    const verdict = judgeImport({ found: { ...FOUND, ...found }, entry, class: kind, host: "h", ageMs }, rules);
    t.equal(verdict.act, act, `${what}: ${verdict.reason}`);
  }
  t.end();
});
