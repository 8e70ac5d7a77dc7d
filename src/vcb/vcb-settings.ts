import { closeNames } from "../close-names.js";
import { ConfigError } from "../errors.js";
import { isContradictory } from "../setting-conflicts.js";
import { type SettingKey, SETTINGS } from "../settings.js";
import type { ConfigJs, ConfigJsEntry } from "./config-js.js";
import type { TomlLine } from "./format-toml.js";
import type { ImportNote } from "./notes.js";

interface VcbSetting {
  /** Words that it takes; undefined for numbers and paths. */
  readonly words?: readonly string[];
  /** What it is here; undefined where nothing is the same. */
  readonly here?: (value: string) => readonly [SettingKey, string | number] | undefined;
  /** What to tell of it, by its value. */
  readonly note?: (value: string) => Pick<ImportNote, "kind" | "message"> | undefined;
  /** What to tell when it is not set, because VCB's default was another one. */
  readonly unset?: Pick<ImportNote, "kind" | "message">;
}

/** VCB had no upper bound; more than this many repetitions outlast every backup window. */
const RETRIES_MAX = 100;

/** The keys of VCB's config.js but for those of the login. */
export const VCB_SETTINGS: Readonly<Record<string, VcbSetting>> = {
  BACKUPROOT: {
    here: (path) => (path.startsWith("/") ? ["mount.root", path] : undefined),
    note: (path) =>
      path.startsWith("/")
        ? undefined
        : {
            kind: "ignored",
            message: `a path of Windows: mounts without a directory of their own go below mount.root (default ${SETTINGS["mount.root"].fallback})`,
          },
  },
  TRANSPORT_MODE: {
    words: ["san", "nbd", "nbdssl", "hotadd"],
    here: (mode) => ["mount.transport", mode],
    note: (mode) => ({
      kind: "changed",
      message:
        `mount.transport may be a list; "${mode}" alone never falls back to another, and needs VMware's library (vddk.libdir). ` +
        (mode === "nbd" ? 'It is not encrypted: "nbdssl" is. ' : "") +
        'Without that library, take the line out: "https" is found by itself',
    }),
    unset: {
      kind: "changed",
      message: "it is not set: VCB then took san, vmmount what can be used on this machine (mount.transport = auto)",
    },
  },
  LOGLEVEL: { here: (level) => ["log.level", Number(level)] },
  SNAPSHOT_POLICY: {
    words: ["automatic", "manual", "createonly", "deleteonly"],
    here: (policy) => ["snapshot.policy", policy],
    note: (policy) =>
      ["automatic", "createonly"].includes(policy)
        ? {
            kind: "changed",
            message:
              "snapshots are named vmmount-SESSION here: reports that look for _VCB-BACKUP_ do not find them; vmmount snapshot list any: does",
          }
        : undefined,
  },
  VM_LOOKUP_METHOD: {
    words: ["ipaddr", "name"],
    here: (method) => ["lookup", method],
    unset: {
      kind: "decide",
      message:
        "it is not set: VCB then took a VM without a form for an address, vmmount takes it for a path, a UUID or a name. " +
        'Set lookup = "ipaddr" if jobs name VMs so',
    },
  },
  PREEXISTING_MOUNTPOINT: {
    words: ["fail", "delete"],
    here: (value) => ["preexisting.mount", value],
    unset: {
      kind: "changed",
      message: `it is not set: VCB then failed, vmmount does what preexisting.mount = ${SETTINGS["preexisting.mount"].fallback} says`,
    },
  },
  PREEXISTING_VCB_SNAPSHOT: {
    words: ["fail", "delete"],
    here: (value) => ["preexisting.snapshot", value],
    note: (value) =>
      value === "delete"
        ? {
            kind: "changed",
            message:
              "only snapshots that carry a mark of vmmount are deleted; old ones named _VCB-BACKUP_ need preexisting.any_owner as well",
          }
        : undefined,
    unset: {
      kind: "changed",
      message: `it is not set: VCB then failed, vmmount does what preexisting.snapshot = ${SETTINGS["preexisting.snapshot"].fallback} says`,
    },
  },
  MAX_RETRIES: {
    here: (retries) => ["retry.max", Math.min(Number(retries), RETRIES_MAX)],
    note: (retries) =>
      Number(retries) > RETRIES_MAX
        ? { kind: "changed", message: `retry.max is ${RETRIES_MAX} at most, and is set to that` }
        : undefined,
    unset: {
      kind: "changed",
      message: `it is not set: VCB then never tried again, vmmount does ${SETTINGS["retry.max"].fallback} times (retry.max)`,
    },
  },
  BACKOFF_TIME: {
    here: (seconds) => ["retry.backoff", `${Number(seconds)}s`],
    note: () => ({
      kind: "changed",
      message: "the wait doubles from one repetition to the next, up to 120 s; VCB always waited the same time",
    }),
  },
};

/** VCB's own bounds; what is beyond them was refused there as well. */
const NUMBERS: Readonly<Record<string, { readonly max: number }>> = {
  LOGLEVEL: { max: 6 },
  MAX_RETRIES: { max: 1e9 },
  // A day: whoever waits longer between two attempts has missed the backup window.
  BACKOFF_TIME: { max: 86_400 },
};

/** @returns settings by key, and lines of TOML by section @throws ConfigError with the line of a value that is none */
export function readSettings(
  js: ConfigJs,
  path: string,
  notes: ImportNote[],
): { settings: Map<SettingKey, string | number>; lines: Map<string, TomlLine[]> } {
  const settings = new Map<SettingKey, string | number>();
  const from = new Map<SettingKey, string>();
  for (const [key, setting] of Object.entries(VCB_SETTINGS)) {
    const entry = js.entries.get(key);
    if (entry === undefined) continue;
    const value = checkedValue(entry, setting, path);
    const [name, here] = setting.here?.(value) ?? [];
    if (name !== undefined && here !== undefined) {
      settings.set(name, here);
      from.set(name, key);
    }
    const note = setting.note?.(value);
    if (note !== undefined) notes.push({ key, line: entry.line, ...note });
  }
  keepPair(js, { settings, from, notes });
  const lines = new Map<string, TomlLine[]>();
  for (const [name, value] of settings) {
    const [section, key] = name.includes(".") ? (name.split(".") as [string, string]) : ["", name];
    lines.set(section, [...(lines.get(section) ?? []), { key, value, from: from.get(name) ?? "" }]);
  }
  return { settings, lines };
}

export function unsetNotes(js: ConfigJs): ImportNote[] {
  return Object.entries(VCB_SETTINGS).flatMap(([key, { unset }]) =>
    unset === undefined || js.entries.has(key) ? [] : [{ key, line: undefined, ...unset }],
  );
}

/** A pair that VCB itself would have refused is taken at its careful end. */
function keepPair(
  js: ConfigJs,
  written: {
    readonly settings: Map<SettingKey, string | number>;
    readonly from: Map<SettingKey, string>;
    readonly notes: ImportNote[];
  },
): void {
  const { settings, from, notes } = written;
  if (settings.get("mount.transport") !== "hotadd" || !isContradictory(asWritten(settings))) return;
  for (const [name, key] of [
    ["preexisting.mount", "PREEXISTING_MOUNTPOINT"],
    ["preexisting.snapshot", "PREEXISTING_VCB_SNAPSHOT"],
  ] as const) {
    settings.set(name, "fail");
    from.set(name, key);
    const message =
      "with hotadd, PREEXISTING_MOUNTPOINT and PREEXISTING_VCB_SNAPSHOT must be the same: both are set to fail";
    notes.push({ kind: "decide", key, line: js.entries.get(key)?.line, message });
  }
}

/** With our default where nothing is written; words were checked before. */
function asWritten(settings: ReadonlyMap<SettingKey, string | number>): Parameters<typeof isContradictory>[0] {
  const word = (key: "preexisting.mount" | "preexisting.snapshot"): unknown =>
    settings.get(key) ?? SETTINGS[key].fallback;
  return {
    "preexisting.mount": SETTINGS["preexisting.mount"].schema.parse(word("preexisting.mount")),
    "preexisting.snapshot": SETTINGS["preexisting.snapshot"].schema.parse(word("preexisting.snapshot")),
  };
}

function checkedValue(entry: ConfigJsEntry, { words }: VcbSetting, path: string): string {
  const { key, line } = entry;
  const wrong = (why: string, hint?: string): ConfigError =>
    new ConfigError(`Cannot import "${path}", line ${line}: ${why}`, { hint });
  const bounds = NUMBERS[key];
  if (bounds !== undefined) {
    if (/^\d{1,10}$/.test(entry.value) && Number(entry.value) <= bounds.max) return entry.value;
    throw wrong(`${key} is no number from 0 to ${bounds.max}`);
  }
  if (words === undefined) {
    if (entry.value !== "") return entry.value;
    throw wrong(`${key} is empty`);
  }
  const word = entry.value.trim().toLowerCase();
  if (words.includes(word)) return word;
  const [close] = closeNames(word, words, 1);
  const hint = close === undefined ? undefined : `Did you mean "${close}"?`;
  throw wrong(`${key} is ${JSON.stringify(entry.value)}, and VCB knew ${words.join(", ")}`, hint);
}
