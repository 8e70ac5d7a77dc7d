import fc from "fast-check";
import t, { type Test } from "tap";
import { Secret } from "../../../src/credentials.js";
import { Logins } from "../../../src/gc/logins.js";
import { markedSnapshots } from "../../../src/gc/marked-snapshots.js";
import { removeMarked } from "../../../src/gc/remove-snapshot.js";
import type { GcSite } from "../../../src/gc/site.js";
import type { MountContext } from "../../../src/mount/mount-steps.js";
import { clearEarlier } from "../../../src/mount/preexisting-snapshots.js";
import { StatePaths } from "../../../src/mount/state-paths.js";
import { SNAPSHOT_POLICIES, type SnapshotPolicy } from "../../../src/settings.js";
import { thisHost } from "../../../src/snapshot/host.js";
import { FileJournal } from "../../../src/snapshot/journal.js";
import { describeOwnership, type Ownership, snapshotName } from "../../../src/snapshot/ownership.js";
import { type FaultRule, MemoryServer, type MemoryVm } from "../../fixtures/memory-hypervisor.js";
import { configIn } from "../../fixtures/mount/config.js";
import { mountRequest } from "../../fixtures/mount/mount-request.js";
import { holds } from "../../fixtures/property.js";
import { recordingLogger } from "../../fixtures/recording-logger.js";
import { scratch } from "../../fixtures/scratch.js";
import { sessionFacts } from "../../fixtures/snapshot-facts.js";
import { lost, refused } from "../../fixtures/snapshot-faults.js";
import { stage } from "../../fixtures/snapshot-session.js";

/** Random trees of snapshots of all kinds, and everything of ours that removes snapshots: what is not ours to remove stays as it was. */
const { signal } = new AbortController();
const KINDS = [
  "user's",
  "VCB's",
  "unmarked",
  "another host's",
  "living",
  "kept",
  "dead",
  "dead, in the journal",
] as const;
type Kind = (typeof KINDS)[number];

interface Planted {
  readonly kind: Kind;
  readonly ref: string;
  readonly parent: string | undefined;
}

const tree = fc.array(fc.record({ kind: fc.constantFrom(...KINDS), parent: fc.nat({ max: 20 }) }), { maxLength: 9 });
const faults = fc.array(
  fc.record({
    method: fc.constantFrom("createSnapshot" as const, "listSnapshots" as const, "removeSnapshot" as const),
    call: fc.integer({ min: 1, max: 4 }),
    when: fc.constantFrom("before" as const, "after" as const, "late" as const),
    error: fc.constantFrom<FaultRule["error"]>(lost, refused),
  }),
  { maxLength: 2 },
);

interface MountRun {
  readonly what: "mount";
  readonly policy: SnapshotPolicy;
  readonly rule: "fail" | "delete-own" | "delete";
  readonly anyOwner: boolean;
}
interface GcRun {
  readonly what: "gc";
  readonly allHosts: boolean;
}
const run: fc.Arbitrary<MountRun | GcRun> = fc.oneof(
  fc.record({
    what: fc.constant("mount" as const),
    policy: fc.constantFrom(...SNAPSHOT_POLICIES),
    rule: fc.constantFrom("fail" as const, "delete-own" as const, "delete" as const),
    anyOwner: fc.boolean(),
  }),
  fc.record({ what: fc.constant("gc" as const), allHosts: fc.boolean() }),
);

/** What the rules allow, said without the code under test. */
function mayGo(kind: Kind, by: MountRun | GcRun): boolean {
  if (kind === "user's" || kind === "living") return false;
  if (by.what === "gc") return kind.startsWith("dead") || (kind === "another host's" && by.allHosts);
  const { policy, rule, anyOwner } = by;
  if (kind === "dead, in the journal" && rule !== "fail") return true;
  if (policy === "manual") return false;
  if (policy === "deleteonly") return kind === "VCB's" || kind === "kept";
  if (kind === "VCB's" || kind === "unmarked") return rule === "delete" && anyOwner;
  return kind === "another host's" ? rule === "delete" : rule !== "fail";
}

/** Of the form of a session's id. */
const sessionOf = (index: number): string => `bbbbbbbb${String(index).padStart(2, "0")}`;

function specOf(kind: Kind, index: number): { name: string; description: string } {
  const session = sessionOf(index);
  const marked = (own: Partial<Ownership>) => ({
    name: snapshotName(session),
    description: describeOwnership({ session, version: "1", mountPoint: "/m", created: "c", ...thisHost(), ...own }),
  });
  if (kind === "user's") return { name: "before the update", description: "vmmount-" };
  if (kind === "VCB's") return { name: "_VCB-BACKUP_", description: "" };
  if (kind === "unmarked") return { name: snapshotName(session), description: "edited" };
  if (kind === "another host's") return marked({ host: "elsewhere", hostId: "0".repeat(16), policy: "automatic" });
  return marked({ policy: kind === "kept" ? "createonly" : "automatic" });
}

interface Scene extends AsyncDisposable {
  readonly server: MemoryServer;
  readonly vm: MemoryVm;
  readonly planted: readonly Planted[];
  readonly paths: StatePaths;
  readonly site: GcSite;
}

async function scene(t: Test, nodes: readonly { kind: Kind; parent: number }[]): Promise<Scene> {
  const config = configIn(scratch(t), "[retry]\nmax = 0\n");
  const paths = new StatePaths(config.settings);
  await paths.prepare();
  const server = new MemoryServer();
  const vm = server.vms[0]!;
  const planted: Planted[] = [];
  const living: FileJournal[] = [];
  for (const [index, { kind, parent: at }] of nodes.entries()) {
    // Any snapshot before it, or none: the tree branches.
    const parent = at > planted.length ? undefined : planted[at]?.ref;
    vm.current = parent;
    const { ref } = server.takeSnapshot(vm, { ...specOf(kind, index), quiesce: false });
    planted.push({ kind, ref, parent });
    if (kind !== "living" && kind !== "dead, in the journal") continue;
    const session = sessionOf(index);
    const journal = await FileJournal.create(paths.journal(session), session);
    await journal.append({ event: "planned", facts: sessionFacts({ snapshotName: snapshotName(session) }) });
    await journal.append({ event: "creating", quiesce: false });
    if (kind === "living") living.push(journal);
    else await journal[Symbol.asyncDispose]();
  }
  const { logger } = recordingLogger();
  const options = { config, paths, choice: { credential: { env: {} } }, logger, signal, onProgress: () => undefined };
  const rules = { allHosts: false, olderThanMs: 0 };
  const gc = { ...options, servers: [], rules, dryRun: false, consolidate: false };
  const site: GcSite = { ...gc, logins: new Logins(gc) };
  return {
    server,
    vm,
    planted,
    paths,
    site,
    [Symbol.asyncDispose]: async () => {
      for (const journal of living) await journal[Symbol.asyncDispose]();
    },
  };
}

async function mount({ server, vm, paths, site }: Scene, { policy, rule, anyOwner }: MountRun): Promise<void> {
  const own = { "snapshot.policy": policy, "preexisting.snapshot": rule, "preexisting.any_owner": anyOwner };
  const request = mountRequest({ settings: { ...site.config.settings, ...own } });
  const driver = { mount: () => Promise.reject(new Error("This test mounts nothing")) };
  const { logger } = site;
  const context: MountContext = { request, driver, program: "", logger, onProgress: () => undefined, signal };
  const { hypervisor, session } = await stage({ policy, retry: { retriesMax: 0, delayMs: 0, delayMsMax: 0 } }, server);
  const connection = { ...request.connection, password: new Secret("") };
  try {
    await clearEarlier({ vm: vm.description.identity, hypervisor, connection, paths }, context);
    await session.obtain(signal);
    await session.served(1);
  } finally {
    await session.remove();
  }
}

async function gc({ server, vm, site }: Scene, { allHosts }: GcRun): Promise<void> {
  await using hypervisor = await server.connect();
  const at = { ...site, rules: { ...site.rules, allHosts } };
  const clocks = () => ({ ours: new Date(), theirs: new Date() });
  const { identity } = vm.description;
  for (const marked of await markedSnapshots(identity, hypervisor, clocks, at)) {
    if (marked.verdict.act !== "remove") continue;
    await removeMarked(
      { vm: identity, url: "https://vc1.example.org", isOrphan: false, marked },
      hypervisor,
      clocks,
      at,
    );
  }
}

/** The next one above that is still there. */
function parentNow({ planted, vm }: Scene, of: Planted): string | undefined {
  let { parent } = of;
  while (parent !== undefined && !vm.snapshots.has(parent)) parent = planted.find(({ ref }) => ref === parent)?.parent;
  return parent;
}

void t.test("no snapshot goes that a rule does not let go, and none changes", async (t) => {
  const property = fc.asyncProperty(tree, run, faults, async (nodes, by, breaks) => {
    await using at = await scene(t, nodes);
    const { vm, planted, server } = at;
    const before = new Map([...vm.snapshots].map(([ref, { snapshot }]) => [ref, JSON.stringify(snapshot)]));
    server.break(...breaks);
    const isDone = await (by.what === "gc" ? gc(at, by) : mount(at, by)).then(
      () => true,
      () => false,
    );
    server.settle();
    for (const one of planted) {
      const now = vm.snapshots.get(one.ref);
      const what = `${one.kind} (${one.ref}) after ${JSON.stringify(by)}`;
      const goes = mayGo(one.kind, by);
      if (now === undefined && !goes) throw new Error(`It is gone: ${what}`);
      if (now === undefined) continue;
      if (JSON.stringify(now.snapshot) !== before.get(one.ref)) throw new Error(`It has changed: ${what}`);
      if (now.parent !== parentNow(at, one)) throw new Error(`It hangs below ${now.parent ?? "nothing"}: ${what}`);
      if (goes && isDone && breaks.length === 0) throw new Error(`It should have gone: ${what}`);
    }
  });
  await holds(t, property, { runs: 150 });
});
