import t, { type Test } from "tap";
import { errorFacts } from "../../../src/errors.js";
import type { MountContext } from "../../../src/mount/mount-steps.js";
import { clearEarlier } from "../../../src/mount/preexisting-snapshots.js";
import { listSessions } from "../../../src/mount/session-list.js";
import { StatePaths } from "../../../src/mount/state-paths.js";
import { SNAPSHOT_POLICIES, type SnapshotPolicy } from "../../../src/settings.js";
import { Secret } from "../../../src/credentials.js";
import { MemoryServer } from "../../fixtures/memory-hypervisor.js";
import { configIn } from "../../fixtures/mount/config.js";
import { EARLIER, type Earlier, earlierJournal, earlierSnapshot } from "../../fixtures/mount/earlier-snapshots.js";
import { mountRequest } from "../../fixtures/mount/mount-request.js";
import { recordingLogger } from "../../fixtures/recording-logger.js";
import { scratch } from "../../fixtures/scratch.js";
import { on, refused } from "../../fixtures/snapshot-faults.js";
import { NAME, stage } from "../../fixtures/snapshot-session.js";

const { signal } = new AbortController();
const RULES = ["fail", "delete-own", "delete", "delete, any owner"] as const;
type Rule = (typeof RULES)[number];
/** How the mount ends, and what became of what was there when all is over. */
type Outcome = "mounted, gone" | "mounted, stays" | "refused, stays" | "not-found, stays" | "not-found, gone";
const USERS = { name: "before the update", description: "", quiesce: false };

const MOUNTED: Outcome = "mounted, stays";
const REFUSED: Outcome = "refused, stays";
const GONE: Outcome = "mounted, gone";
const NONE: Outcome = "not-found, stays";

/**
 * Per thing that was there: what a mount that makes a snapshot (automatic, createonly) comes to under each rule, and then
 * the same for manual and deleteonly, which use one.
 */
const TABLE: Readonly<Record<Earlier, readonly [makes: readonly Outcome[], manual: Uses, deleteonly: Uses]>> = {
  //                               fail     own      delete   any owner
  nothing: [[GONE, GONE, GONE, GONE], NONE, NONE],
  "one of VCB": [[REFUSED, REFUSED, REFUSED, GONE], MOUNTED, GONE],
  "one without its mark": [[REFUSED, REFUSED, REFUSED, GONE], NONE, NONE],
  "one of a dead session in the journal": [[REFUSED, GONE, GONE, GONE], recovered, recovered],
  "one of a dead session that no journal knows": [[REFUSED, GONE, GONE, GONE], NONE, NONE],
  "one of a living session": [[REFUSED, REFUSED, REFUSED, REFUSED], NONE, NONE],
  "one kept by createonly": [[REFUSED, GONE, GONE, GONE], MOUNTED, GONE],
  "one kept for too long": [[REFUSED, GONE, GONE, GONE], MOUNTED, GONE],
  "one of another host": [[REFUSED, MOUNTED, GONE, GONE], NONE, NONE],
};
type Uses = Outcome | ((rule: Rule) => Outcome);

/** The journal is cleaned up whatever the policy, and then nothing is there to use. */
function recovered(rule: Rule): Outcome {
  return rule === "fail" ? REFUSED : "not-found, gone";
}

function expected(kind: Earlier, policy: SnapshotPolicy, rule: Rule): Outcome | undefined {
  const [makes, manual, deleteonly] = TABLE[kind];
  if (policy === "automatic" || policy === "createonly") return makes[RULES.indexOf(rule)];
  const uses = policy === "manual" ? manual : deleteonly;
  return typeof uses === "function" ? uses(rule) : uses;
}

interface Case {
  readonly kind: Earlier;
  readonly policy: SnapshotPolicy;
  readonly rule: Rule;
}

interface Ended {
  readonly exit: string;
  readonly left: readonly string[];
  readonly created: number;
  readonly sessions: number;
}

async function mounted(t: Test, { kind, policy, rule }: Case, server = new MemoryServer()): Promise<Ended> {
  const { settings: defaults } = configIn(scratch(t));
  const settings = {
    ...defaults,
    "snapshot.policy": policy,
    "preexisting.snapshot": rule === "delete, any owner" ? ("delete" as const) : rule,
    "preexisting.any_owner": rule === "delete, any owner",
    "retry.max": 0,
  };
  const paths = new StatePaths(settings);
  const vm = server.vms[0]!;
  server.takeSnapshot(vm, USERS);
  const earlier = earlierSnapshot(kind);
  if (earlier !== undefined) server.takeSnapshot(vm, { ...earlier, quiesce: false });
  server.takeSnapshot(vm, USERS);
  await using journal = await earlierJournal(kind, paths);
  const { logger } = recordingLogger();
  const driver = { mount: () => Promise.reject(new Error("This test mounts nothing")) };
  const request = mountRequest({ settings });
  const context: MountContext = { request, driver, program: "", logger, onProgress: () => undefined, signal };
  const at = await stage({ policy }, server);
  const { hypervisor, session } = at;
  const connection = { ...request.connection, password: new Secret(request.connection.password) };
  server.calls.length = 0;
  let exit = "mounted";
  try {
    await clearEarlier({ vm: vm.description.identity, hypervisor, connection, paths }, context);
    await session.obtain(signal);
    await session.served(1);
  } catch (error) {
    exit = errorFacts(error).name;
  }
  await session.remove();
  const sessions = (await listSessions(paths)).length - (journal === undefined ? 0 : 1);
  return { exit, left: at.left(), created: server.calls.filter((call) => call === "createSnapshot").length, sessions };
}

for (const policy of SNAPSHOT_POLICIES) {
  void t.test(`${policy}, over everything that can be there, under every rule`, async (t) => {
    for (const kind of EARLIER) {
      for (const rule of RULES) {
        const outcome = expected(kind, policy, rule) ?? NONE;
        const [exit, became] = outcome.split(", ");
        const { left, ...ended } = await mounted(t, { kind, policy, rule });
        const makes = exit === "mounted" && (policy === "automatic" || policy === "createonly");
        const isDead = kind === "one of a dead session in the journal" && became === "stays";
        t.match(ended, { exit, created: makes ? 1 : 0, sessions: isDead ? 1 : 0 }, `${kind}, ${rule}`);
        const name = earlierSnapshot(kind)?.name;
        const there = name === undefined || became === "gone" ? [] : [name];
        const own = makes && policy === "createonly" ? [NAME] : [];
        t.strictSame(
          [...left].sort(),
          [USERS.name, USERS.name, ...there, ...own].sort(),
          `${kind}, ${rule}: ${outcome}`,
        );
      }
    }
  });
}

void t.test("one that has to go and cannot: the mount fails, and makes nothing", async (t) => {
  for (const kind of ["one kept by createonly", "one of a dead session that no journal knows"] as const) {
    const server = new MemoryServer();
    server.break(on("removeSnapshot", undefined, "before", refused));
    const { exit, left, created } = await mounted(t, { kind, policy: "automatic", rule: "delete-own" }, server);
    t.same({ exit, created, left: left.length }, { exit: "leftover", created: 0, left: 3 }, kind);
  }
});
