import { z } from "zod";
import { durationMs, integer, type Setting, setting, size, timeoutMs } from "./setting-values.js";

/** VMs that one command may name; more processes at once than this is another kind of machine. */
const AT_ONCE_MAX = 1000;

/**
 * How a backup proxy treats the site around it: how much it asks of it at once, what it looks at before a snapshot, and
 * commands of its own around one.
 */
export const PROXY_SETTINGS = {
  // Each is a process of about 100 MB, which takes half a second of a processor to start.
  "parallel.total": setting(
    integer(1, AT_ONCE_MAX),
    16,
    "VMMOUNT_PARALLEL_TOTAL",
    "VMs of one command that are being mounted or unmounted at once",
  ),
  // A vCenter works on several tasks at once and keeps everybody else's waiting meanwhile.
  "parallel.server": setting(integer(1, AT_ONCE_MAX), 8, "VMMOUNT_PARALLEL_SERVER", "of these, VMs of one server"),
  // A guest stands still for a moment at its snapshot; a host should not stop many of its guests together.
  "parallel.host": setting(integer(1, AT_ONCE_MAX), 4, "VMMOUNT_PARALLEL_HOST", "of these, VMs that run on one host"),
  // Flushing guests and merging delta files are bursts of writes to the same disks below.
  "parallel.datastore": setting(
    integer(1, AT_ONCE_MAX),
    4,
    "VMMOUNT_PARALLEL_DATASTORE",
    "of these, VMs with a disk on one datastore or storage repository",
  ),
  "hooks.before_snapshot": setting(
    z.string(),
    "",
    "VMMOUNT_BEFORE_SNAPSHOT",
    "shell command on this host before each snapshot; when it fails, no snapshot is made",
  ),
  "hooks.after_snapshot": setting(
    z.string(),
    "",
    "VMMOUNT_AFTER_SNAPSHOT",
    "shell command on this host after each snapshot, also after one that failed",
  ),
  // A command that stops a database waits for its checkpoint; one that hangs must not cost the backup window.
  "hooks.timeout": setting(timeoutMs, "5m", "VMMOUNT_HOOKS_TIMEOUT", "how long one of these commands may run"),
  // A guest that is busy writes some GiB into its delta file in the hours that a backup takes.
  "guard.free_space_warn": setting(
    size,
    "10GiB",
    "VMMOUNT_GUARD_FREE_SPACE_WARN",
    "warn before a snapshot that leaves less free on a datastore or storage repository; 0: never",
  ),
  // When storage is full, every guest on it stops: with less than this it happens within minutes.
  "guard.free_space_min": setting(
    size,
    "1GiB",
    "VMMOUNT_GUARD_FREE_SPACE_MIN",
    "refuse a snapshot that leaves less free; 0: never",
  ),
  // Every link costs each read of the guest a look; VMware advises two or three at most, for three days at most.
  "guard.chain_warn": setting(
    integer(0, 255),
    3,
    "VMMOUNT_GUARD_CHAIN_WARN",
    "warn when more snapshots than this hang below each other already; 0: never",
  ),
  // vSphere supports 32 links; the snapshot beyond it fails in ways that have left VMs unable to start.
  "guard.chain_max": setting(
    integer(0, 255),
    32,
    "VMMOUNT_GUARD_CHAIN_MAX",
    "refuse a snapshot when as many hang below each other already; 0: never",
  ),
  "guard.snapshot_age": setting(
    durationMs,
    "7d",
    "VMMOUNT_GUARD_SNAPSHOT_AGE",
    "warn when the VM has a snapshot of somebody else that is older; 0: never",
  ),
  // Freezing a guest with databases takes minutes; what remains of snapshot.timeout is for the snapshot without it.
  "snapshot.quiesce_timeout": setting(
    timeoutMs,
    "10m",
    "VMMOUNT_QUIESCE_TIMEOUT",
    "how long a quiesced snapshot may take before it is cancelled; auto then takes a crash-consistent one",
  ),
} as const satisfies Record<string, Setting<unknown>>;
