import t from "tap";
import { loadConfig } from "../../../src/config.js";
import type { Snapshot } from "../../../src/hypervisor.js";
import { guardSnapshot } from "../../../src/mount/snapshot-guard.js";
import type { StorageRoom } from "../../../src/storage-room.js";
import { GIB } from "../../../src/units.js";
import { memoryVm } from "../../fixtures/memory-hypervisor.js";
import { recordingLogger } from "../../fixtures/recording-logger.js";
import { failureOf } from "../../fixtures/snapshot-session.js";

const DAY_MS = 24 * 3_600_000;
const { signal } = new AbortController();

interface Site {
  readonly storages?: readonly StorageRoom[];
  /** From the oldest to the newest, each below the one before. */
  readonly ages?: readonly number[];
  readonly env?: Readonly<Record<string, string>>;
  readonly description?: string;
  readonly makes?: "supported" | "none";
}

async function guarded({
  storages,
  ages = [],
  env = {},
  description = "",
  makes = "supported",
}: Site): Promise<string[]> {
  const { settings } = loadConfig({ file: "/dev/null", env, flags: [] });
  const { logger, lines } = recordingLogger();
  const all = ages.map((days, index): Snapshot => ({
    ref: `snapshot-${index}`,
    name: `by hand ${index}`,
    description,
    createdAt: new Date(Date.now() - days * DAY_MS),
    quiesced: false,
    depth: index + 1,
  }));
  const { description: vm } = memoryVm({}, storages === undefined ? {} : { storages });
  const hypervisor = { snapshots: makes, listSnapshots: () => Promise.resolve(all) };
  await guardSnapshot(vm, { hypervisor, settings, logger, signal });
  return lines.map(({ level, message }) => `${level}: ${message}`);
}

const room = (free: number | undefined, setAside = 0): StorageRoom[] => [{ name: "ds1", free, setAside }];

void t.test("room on storage", async (t) => {
  t.strictSame(await guarded({ storages: room(50 * GIB) }), []);
  t.strictSame(await guarded({ storages: room(undefined) }), [], "nobody knows");
  t.strictSame(await guarded({}), []);
  t.match(await guarded({ storages: room(5 * GIB) }), [/^warn: .*"ds1" would have 5120 MiB free/]);
  t.match(await guarded({ storages: room(30 * GIB, 25 * GIB) }), [/^warn: .*"ds1" would have 5120 MiB free/]);
  const small = await failureOf(guarded({ storages: room(0.5 * GIB) }));
  t.match(small, { exit: "refused", message: /"ds1" would have 512 MiB free with it, and the least is 1024 MiB/ });
  t.match(await failureOf(guarded({ storages: room(30 * GIB, 30 * GIB) })), { exit: "refused" });
  const off = { VMMOUNT_GUARD_FREE_SPACE_MIN: "0", VMMOUNT_GUARD_FREE_SPACE_WARN: "0" };
  t.strictSame(await guarded({ storages: room(0), env: off }), []);
});

void t.test("snapshots that are there already", async (t) => {
  t.strictSame(await guarded({ ages: [1, 1, 1] }), [], "three are usual");
  t.match(await guarded({ ages: [1, 1, 1, 1] }), [/^warn: .* has 4 snapshots below each other/]);
  t.strictSame(await guarded({ ages: [1, 1, 1, 1], env: { VMMOUNT_GUARD_CHAIN_WARN: "0" } }), []);
  t.match(await guarded({ ages: [20, 8, 1] }), [/^warn: .*"by hand 0" for 20 days, and 1 more old ones/]);
  t.strictSame(await guarded({ ages: [20], env: { VMMOUNT_GUARD_SNAPSHOT_AGE: "0" } }), []);
  const full = Array.from({ length: 32 }, () => 1);
  t.match(await failureOf(guarded({ ages: full })), { exit: "refused", message: /32 hang below each other already/ });
  t.match(await guarded({ ages: full.slice(1) }), [/^warn: .* has 31 snapshots/]);
  t.match(await guarded({ ages: full, env: { VMMOUNT_GUARD_CHAIN_MAX: "0" } }), [/^warn: .* has 32 snapshots/]);
  t.strictSame(await guarded({ ages: full, makes: "none" }), [], "no snapshot, no chain");
});
