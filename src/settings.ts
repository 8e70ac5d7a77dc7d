import { z } from "zod";
import { folderOfDirUrl, isDirUrl } from "./dir-url.js";
import { LOOKUPS } from "./locator.js";
import { LOG_LEVEL_DEFAULT, LOG_LEVELS } from "./log.js";
import { parseMountName } from "./mount-name.js";
import { PROXY_SETTINGS } from "./proxy-settings.js";
import type { RetryPolicy } from "./retry.js";
import {
  absolutePath,
  durationMs,
  flag,
  integer,
  oneOf,
  parsed,
  type Setting,
  setting,
  size,
  timeoutMs,
} from "./setting-values.js";
import { parseTransports } from "./transports.js";
import { httpsOfXenUrl, isXenUrl } from "./xen-url.js";
import { KIB, MIB } from "./units.js";

const octalMode = parsed('Write octal read bits such as "0440"', (text) => {
  if (/^0?[04]{3}$/.test(text)) return Number.parseInt(text, 8);
  throw new RangeError(`Cannot use "${text}" as a file mode: write octal read bits such as "0440"`);
});

/** VMware Consolidated Backup's four words for who makes the snapshot of a backup, and who removes it. */
export const SNAPSHOT_POLICIES = ["automatic", "manual", "createonly", "deleteonly"] as const;
export type SnapshotPolicy = (typeof SNAPSHOT_POLICIES)[number];

/**
 * Every setting, once: key in the TOML file, default of root (personal-defaults.ts has those of others), environment
 * variable, meaning. Sizes take B, KiB, MiB, GiB, TiB;
 * durations take ms, s, m, h, d.
 */
export const SETTINGS = {
  default_server: setting(
    z.string(),
    "",
    "VMMOUNT_SERVER",
    "server that locators without SERVER: mean; may be left out when only one is configured",
  ),
  lookup: setting(
    oneOf(LOOKUPS),
    "auto",
    "VMMOUNT_LOOKUP",
    "what a VM without a form such as name: is; auto: path, UUID, address, or exact name; ipaddr: address or DNS name of its guest; name: exact name",
  ),
  "log.level": setting(
    integer(0, LOG_LEVELS.length - 1),
    LOG_LEVEL_DEFAULT,
    "VMMOUNT_LOG_LEVEL",
    "0 nothing, 1 errors, 2 warnings, 3 steps, 4 progress, 5 API calls, 6 wire dumps",
  ),
  "log.file": setting(
    z.union([z.literal(""), absolutePath], "Write an absolute path"),
    "",
    "VMMOUNT_LOG_FILE",
    "file that log lines are added to, as JSON; stderr then has steps at most; empty: none",
  ),
  "mount.root": setting(
    absolutePath,
    "/run/vmmount/mounts",
    "VMMOUNT_MOUNT_ROOT",
    "where directories are made for mounts that are given none; made with mode 0700; a normal user's: $XDG_RUNTIME_DIR/vmmount/mounts",
  ),
  "mount.name": setting(
    parsed('Write a name such as "{name}-{instanceuuid8}"', parseMountName),
    "{type}-{name}-{instanceuuid8}",
    "VMMOUNT_MOUNT_NAME",
    "name of such a directory, from {type}, {name}, {instanceuuid8}, {instanceuuid}, {server}, {session}",
  ),
  // 256 MiB: several 1 MiB blocks for each of dozens of sequential readers; below 8 blocks read-ahead evicts itself.
  "mount.cache_size": setting(
    size.refine((value) => value >= 8 * MIB, "Cannot use less than 8MiB of cache"),
    "256MiB",
    "VMMOUNT_CACHE_SIZE",
    "memory for disk data, per mount: cached, on its way, and being answered",
  ),
  // 1 MiB: what one FUSE request carries; a request to a server costs the same whatever its size.
  "mount.block_size": setting(
    size.refine(
      (value) => value >= 64 * KIB && value <= 4 * MIB && Number.isInteger(Math.log2(value)),
      "Cannot use this block size: take a power of two from 64KiB to 4MiB",
    ),
    "1MiB",
    "VMMOUNT_BLOCK_SIZE",
    "bytes asked from the server at once",
  ),
  // Twice what eight requests of a block can have under way: the pipe stays full while the reader takes what has come.
  "mount.read_ahead": setting(
    integer(0, 64),
    16,
    "VMMOUNT_READ_AHEAD",
    "blocks fetched ahead of a sequential reader, at most",
  ),
  "mount.parallel_reads": setting(
    // What one session may have open on a host that serves others too; the https client keeps as many connections.
    integer(1, 8),
    8,
    "VMMOUNT_PARALLEL_READS",
    "requests to the server at once, per mount",
  ),
  "mount.allow_other": setting(
    flag,
    false,
    "VMMOUNT_ALLOW_OTHER",
    "let other users into the mount; the file mode still counts",
  ),
  "mount.uid": setting(
    integer(0, 4294967294),
    0,
    "VMMOUNT_UID",
    "owner of the files in the mount; a normal user's own",
  ),
  "mount.gid": setting(
    integer(0, 4294967294),
    0,
    "VMMOUNT_GID",
    "group of the files in the mount; a normal user's own",
  ),
  "mount.mode": setting(octalMode, "0400", "VMMOUNT_MODE", "octal mode of the files in the mount"),
  "mount.allocation": setting(
    oneOf(["auto", "off"]),
    "auto",
    "VMMOUNT_ALLOCATION",
    "auto: holes where the server says so and samples agree; off: every byte is read",
  ),
  "mount.transport": setting(
    parsed('Write transports such as "nbdssl:https", or "auto"', parseTransports),
    "auto",
    "VMMOUNT_TRANSPORT",
    "how to read disks, in order: vSphere some of san:hotadd:nbdssl:nbd:https, Xen some of nbd:http; auto: all that can be used here",
  ),
  "mount.passthrough": setting(
    oneOf(["auto", "off"]),
    "auto",
    "VMMOUNT_PASSTHROUGH",
    "auto: disks that are a local file are read by the kernel itself, where it can; off: never",
  ),
  "mount.fuse_driver": setting(
    oneOf(["kernel", "fuse-native"]),
    "kernel",
    "VMMOUNT_FUSE_DRIVER",
    "kernel: no library, tells readers where holes are; fuse-native: through libfuse 2",
  ),
  "mount.xva_checksum": setting(
    oneOf(["sha1", "xxhash"]),
    "sha1",
    "VMMOUNT_XVA_CHECKSUM",
    "how the .xva of a Xen VM is hashed; sha1: every version imports it; xxhash: from Citrix Hypervisor 8.1 and XCP-ng 8.1 on, faster",
  ),
  "vddk.libdir": setting(
    z.string(),
    "",
    "VMMOUNT_VDDK_LIBDIR",
    "folder of VMware's library, the one that has lib64 in it; empty: the usual ones",
  ),
  "vddk.host": setting(
    oneOf(["own", "nbdkit"]),
    "own",
    "VMMOUNT_VDDK_HOST",
    "own: vmmount loads VMware's library in a process of its own; nbdkit: an installed nbdkit does",
  ),
  "vddk.config": setting(z.string(), "", "VMMOUNT_VDDK_CONFIG", "configuration file for VMware's library"),
  "snapshot.quiesce": setting(
    oneOf(["auto", "require", "off"]),
    "auto",
    "VMMOUNT_QUIESCE",
    "auto: try, else crash-consistent with a warning; require: fail; off: never ask the guest",
  ),
  "snapshot.kind": setting(
    oneOf(["disks", "memory", "offline"]),
    "disks",
    "VMMOUNT_SNAPSHOT_KIND",
    "Xen only; disks: of the VM as it is; memory: it stands still meanwhile, so all disks are of one moment; offline: it is shut down, frozen and started again",
  ),
  "snapshot.policy": setting(
    oneOf(SNAPSHOT_POLICIES),
    "automatic",
    "VMMOUNT_SNAPSHOT_POLICY",
    "automatic: create, and delete at umount; manual: use one that is there, and keep it; createonly: create, and keep it; deleteonly: use one that is there, and delete it at umount",
  ),
  "snapshot.use": setting(
    z.string().max(80),
    "",
    "VMMOUNT_SNAPSHOT_USE",
    "name or id of the snapshot that manual and deleteonly use; empty: the one that createonly kept, or one named _VCB-BACKUP_",
  ),
  // A week: no backup takes that long, and a snapshot of that age has grown to be a danger to its datastore.
  "snapshot.max_age": setting(
    timeoutMs,
    "7d",
    "VMMOUNT_SNAPSHOT_MAX_AGE",
    "age at which a snapshot of ours counts as forgotten, whoever made it; written into its description",
  ),
  "preexisting.mount": setting(
    oneOf(["fail", "repair", "delete"]),
    "repair",
    "VMMOUNT_PREEXISTING_MOUNT",
    "an earlier mount on the same directory; fail: refuse; repair: clean up one whose process is dead; delete: unmount also a living one of the same VM",
  ),
  "preexisting.snapshot": setting(
    oneOf(["fail", "delete-own", "delete"]),
    "delete-own",
    "VMMOUNT_PREEXISTING_SNAPSHOT",
    "an earlier backup snapshot of the VM; fail: refuse; delete-own: remove those that this host made and no process holds; delete: also those of other hosts",
  ),
  "preexisting.any_owner": setting(
    flag,
    false,
    "VMMOUNT_ANY_OWNER",
    "with preexisting.snapshot = delete: also snapshots named like those of a backup without a mark of ours",
  ),
  "snapshot.timeout": setting(timeoutMs, "15m", "VMMOUNT_SNAPSHOT_TIMEOUT", "how long creating a snapshot may take"),
  // Consolidation of a busy VM with a large delta is known to take hours; giving up early leaves it running unwatched.
  "snapshot.remove_timeout": setting(
    timeoutMs,
    "12h",
    "VMMOUNT_REMOVE_TIMEOUT",
    "how long removing a snapshot may take",
  ),
  "retry.max": setting(
    integer(0, 100),
    3,
    "VMMOUNT_RETRY_MAX",
    "repetitions of a call that failed for a passing reason",
  ),
  "retry.backoff": setting(
    durationMs,
    "10s",
    "VMMOUNT_RETRY_BACKOFF",
    "wait before the first repetition; doubles up to 120s",
  ),
  ...PROXY_SETTINGS,
  "read.retries": setting(
    integer(0, 100),
    5,
    "VMMOUNT_READ_RETRIES",
    "repetitions of a failed disk read before the agent gets an I/O error",
  ),
  // An agent that waits for minutes inside read(2) looks hung to its operator.
  "read.timeout": setting(
    timeoutMs,
    "45s",
    "VMMOUNT_READ_TIMEOUT",
    "longest time a disk read may take with all its repetitions",
  ),
  "state.dir": setting(
    absolutePath,
    "/var/lib/vmmount",
    "VMMOUNT_STATE_DIR",
    "journals of snapshot sessions and logs; survives a reboot; a normal user's: $XDG_STATE_HOME/vmmount",
  ),
  "cache.dir": setting(
    absolutePath,
    "/var/cache/vmmount",
    "VMMOUNT_CACHE_DIR",
    "room for disks that a Xen host without NBD gives only once and in order; a normal user's: $XDG_CACHE_HOME/vmmount",
  ),
  "runtime.dir": setting(
    absolutePath,
    "/run/vmmount",
    "VMMOUNT_RUNTIME_DIR",
    "control sockets and locks; a normal user's: $XDG_RUNTIME_DIR/vmmount",
  ),
} as const satisfies Record<string, Setting<unknown>>;

export type SettingKey = keyof typeof SETTINGS;
export type Settings = { readonly [K in SettingKey]: z.infer<(typeof SETTINGS)[K]["schema"]> };

export const SETTING_KEYS = Object.keys(SETTINGS) as SettingKey[];

const fingerprintText = z
  .string()
  .regex(
    /^([0-9a-f]{2}:){19}[0-9a-f]{2}$|^([0-9a-f]{2}:){31}[0-9a-f]{2}$/i,
    "Cannot use this fingerprint: it is 32 (SHA-256) or 20 (SHA-1) pairs of hex digits with colons",
  );

const serverUrl = z.string().superRefine((url, context) => {
  const message = isDirUrl(url)
    ? faultOf(() => folderOfDirUrl(url))
    : isXenUrl(url)
      ? faultOf(() => httpsOfXenUrl(url))
      : httpsUrlFault(url);
  if (message !== undefined) context.addIssue({ code: "custom", message });
});

function httpsUrlFault(url: string): string | undefined {
  if (!/^https:\/\/[^/?#@\s]+\/?$/.test(url)) {
    return (
      'Cannot use this URL: write "https://host" or "https://host:port" for vSphere, "xen://host" for a Xen pool, without ' +
      'user or path, or "dir:///srv/vms" for a folder of VMs'
    );
  }
  return URL.canParse(url) ? undefined : "Cannot use this URL: its host or port is not possible";
}

function faultOf(parse: () => unknown): string | undefined {
  try {
    parse();
    return undefined;
  } catch (error) {
    return (error as Error).message;
  }
}

/** One `[server.NAME]` table of the file. */
export const serverProfileSchema = z
  .strictObject({
    url: serverUrl,
    user: z.string().min(1).optional(),
    password: z.string().min(1).optional(),
    password_file: z.string().startsWith("/").optional(),
    ca_file: z.string().startsWith("/").optional(),
    fingerprint: fingerprintText.optional(),
    insecure: flag.optional(),
    timeout: timeoutMs.optional(),
  })
  .superRefine(({ url, ...login }, context) => {
    if (!isDirUrl(url)) return;
    for (const key of Object.keys(login)) {
      context.addIssue({
        code: "custom",
        path: [key],
        message: "Cannot log in to a folder of VMs: leave this key out",
      });
    }
  });

export type ServerProfile = z.infer<typeof serverProfileSchema>;
export const SERVER_KEYS = Object.keys(serverProfileSchema.shape);

/** Waits between repetitions never grow beyond two minutes: a backup window is hours, not days. */
const BACKOFF_MS_MAX = 120_000;

/** How calls to a server are repeated; reads of disk data have their own policy. */
export function serverRetryPolicy(settings: Settings): RetryPolicy {
  return { retriesMax: settings["retry.max"], delayMs: settings["retry.backoff"], delayMsMax: BACKOFF_MS_MAX };
}
