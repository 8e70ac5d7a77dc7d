import { existsSync } from "node:fs";
import t, { type Test } from "tap";
import { CleanupStack } from "../../../src/cleanup.js";
import type { DiskDescription, Hypervisor, VmDescription } from "../../../src/hypervisor.js";
import { BlockStack } from "../../../src/mount/block-stack.js";
import {
  diskStatuses,
  freeze,
  type MountContext,
  newSnapshotSession,
  openDisks,
  openJournal,
  refuseHopeless,
} from "../../../src/mount/mount-steps.js";
import { StatePaths } from "../../../src/mount/state-paths.js";
import { readJournal } from "../../../src/snapshot/journal.js";
import { isOfSession } from "../../../src/snapshot/ownership.js";
import { bytes, MIB } from "../../../src/units.js";
import { memorySource, patternBytes } from "../../fixtures/block/memory.js";
import { MemoryServer, memoryVm } from "../../fixtures/memory-hypervisor.js";
import { configIn } from "../../fixtures/mount/config.js";
import { mountRequest } from "../../fixtures/mount/mount-request.js";
import { recordingLogger } from "../../fixtures/recording-logger.js";
import { scratch } from "../../fixtures/scratch.js";
import { failureOf, SESSION } from "../../fixtures/snapshot-session.js";
import { disk } from "../../fixtures/vm/contents.js";

const { signal } = new AbortController();

function context(t: Test) {
  const { logger, lines } = recordingLogger();
  const { settings } = configIn(scratch(t));
  const driver = { mount: () => Promise.reject(new Error("This test mounts nothing")) };
  const request = mountRequest({ settings: { ...settings, "mount.read_ahead": 0 } });
  const made: MountContext = { request, driver, program: "", logger, onProgress: () => undefined, signal };
  return { context: made, lines, paths: new StatePaths(settings) };
}

const SERVER = { makes: "supported", accessIdentity: undefined, mayAttach: false } as const;

function vmWith(disks: DiskDescription[], own: Partial<VmDescription> = {}): VmDescription {
  return { ...memoryVm().description, disks, ...own };
}

void t.test("refuseHopeless() refuses before anything is made", (t) => {
  refuseHopeless(vmWith([disk(0), disk(1, { excludedBecause: "independent" })]), "automatic");
  t.throws(
    () => {
      refuseHopeless(vmWith([disk(0)], { snapshotObstacles: ["it is being migrated"] }), "automatic");
    },
    { name: "SnapshotError", message: /it is being migrated/ },
  );
  t.throws(
    () => {
      refuseHopeless(vmWith([disk(0, { excludedBecause: "independent" })]), "automatic");
    },
    { name: "RefusedError", hint: "Hard disk 1: independent" },
  );
  t.throws(
    () => {
      refuseHopeless(vmWith([]), "automatic");
    },
    { name: "RefusedError", hint: "The VM has no disks" },
  );
  t.end();
});

void t.test("openJournal() plans the session without secrets", async (t) => {
  const at = context(t);
  await using journal = await openJournal(at.context, at.paths, memoryVm().description.identity, SERVER);
  t.ok(journal);
  const records = await readJournal(at.paths.journal(SESSION));
  t.match(records, [
    { event: "planned", facts: { pid: process.pid, vm: { ref: "vm-42" }, snapshotName: `vmmount-${SESSION}` } },
  ]);
  t.notMatch(JSON.stringify(records), /hunter2/);
});

void t.test("openJournal() leaves no empty journal behind", async (t) => {
  const at = context(t);
  const circular: Record<string, unknown> = { ...memoryVm().description.identity };
  circular["name"] = circular;
  const identity = circular as unknown as VmDescription["identity"];
  await t.rejects(openJournal(at.context, at.paths, identity, SERVER), { message: /circular/ });
  t.notOk(existsSync(at.paths.journal(SESSION)));
});

void t.test("freeze() gives the VM as its snapshot holds it", async (t) => {
  const at = context(t);
  const server = new MemoryServer();
  const vm = server.vms[0]!;
  const hypervisor = await server.connect();
  await using journal = await openJournal(at.context, at.paths, vm.description.identity, SERVER);
  const snapshots = newSnapshotSession(at.context, hypervisor, journal, vm.description);
  const frozen = await freeze(hypervisor, snapshots, vm.description, at.context);
  t.equal(frozen.consistency, "quiesced");
  const [snapshot] = await hypervisor.listSnapshots(vm.description.identity.ref, at.context);
  t.equal(frozen.snapshot.ref, snapshot?.ref);
  t.ok(isOfSession(snapshot!, SESSION));
  await snapshots.remove();
  t.equal(vm.snapshots.size, 0);
});

void t.test("openDisks() opens what is included, says what is not, and closes all when one fails", async (t) => {
  const at = context(t);
  const disks = [disk(0), disk(1, { excludedBecause: "independent" }), disk(2), disk(3)];
  let open = 0;
  const hypervisor: Pick<Hypervisor, "openDisk"> = {
    openDisk: ({ disk: one }) => {
      open++;
      const source = memorySource(patternBytes(MIB), { granularity: MIB });
      const broken = one.key === "2003";
      return Promise.resolve({
        source: {
          size: source.size,
          read: source.read.bind(source),
          ...(broken && {
            extents: () => {
              throw new TypeError("broken map");
            },
          }),
          [Symbol.asyncDispose]: () => {
            open--;
            return Promise.resolve();
          },
        },
        transport: "memory",
        allocation: "unknown",
      });
    },
  };
  const vm = vmWith(disks);
  const snapshot = { ref: "s", name: "n", description: "", createdAt: new Date(), quiesced: false, depth: 1 };
  const opening = (undo: CleanupStack, count: number) => {
    const frozen = { vm: { ...vm, disks: disks.slice(0, count) }, snapshot, consistency: "crash" } as const;
    const stack = new BlockStack(at.context.request.settings, at.context.logger);
    const transports = {
      open: (one: DiskDescription, ref: string | undefined) =>
        (hypervisor as Hypervisor).openDisk({ vm: vm.identity.ref, snapshot: ref, disk: one }, { signal }),
    };
    return openDisks(transports, frozen, stack, at.context, undo);
  };
  {
    await using undo = new CleanupStack();
    const shown = await opening(undo, 3);
    t.strictSame(
      shown.map(({ key }) => key),
      ["2000", "2002"],
    );
    t.equal(open, 2);
    t.match(
      at.lines.find(({ level }) => level === "warn"),
      { message: /Hard disk 2 \(scsi0-1\).* is NOT in this backup/ },
    );
    t.match(diskStatuses(vm, shown), [
      { node: "scsi0-0", included: true, allocated: MIB, transport: "memory" },
      { node: "scsi0-1", included: false, reason: "independent" },
      { included: true },
      { included: false },
    ]);
  }
  t.equal(open, 0);
  {
    await using undo = new CleanupStack();
    t.match(await failureOf(opening(undo, 4)), { message: "broken map" });
    t.equal(open, 2, "the one that failed is closed at once");
  }
  t.equal(open, 0);
  t.equal(bytes(MIB), MIB);
});
