import { createHash } from "node:crypto";
import { z } from "zod";
import { IntegrityError } from "../errors.js";
import { printable } from "../printable.js";
import { SNAPSHOT_POLICIES } from "../settings.js";

/** Version 1 knew only the policy automatic, version 2 none of the user's commands; their records are read as well. */
export const JOURNAL_VERSION = 3;

/** What a later run needs to find the server and the VM again, without secrets. */
export const sessionFactsSchema = z.object({
  mountPoint: z.string(),
  /** Whether that directory was made for the mount, and goes with it. */
  madeMountPoint: z.boolean().optional(),
  /** Host and storage of the VM when it was mounted: how many of each are unmounted at once is limited. */
  place: z.object({ host: z.string().optional(), storages: z.array(z.string()) }).optional(),
  host: z.string(),
  /** Came later: journals without it are read as well. See isElsewhere. */
  boot: z.string().optional(),
  pid: z.number().int(),
  server: z.object({
    name: z.string(),
    url: z.string(),
    user: z.string(),
    fingerprint: z.string().optional(),
    caFile: z.string().optional(),
    insecure: z.boolean(),
  }),
  vm: z.object({
    ref: z.string(),
    instanceUuid: z.string().optional(),
    name: z.string(),
    path: z.string(),
  }),
  /** Absent when the server makes no snapshots, or when the session uses one that was there. */
  snapshotName: z.string().optional(),
  /** True when the VM had delta files to merge before this session began: they are not its doing. */
  neededConsolidation: z.boolean().optional(),
  /** Absent: automatic. */
  policy: z.enum(SNAPSHOT_POLICIES).optional(),
  /** The name under which vCenter may have been told not to move the VM's disks (PrepareForAccess of VDDK). */
  accessIdentity: z.string().optional(),
  /** Whether disks may have been attached to this machine (HotAdd of VDDK), which keeps the server from removing the snapshot. */
  mayAttach: z.boolean().optional(),
});
export type SessionFacts = z.infer<typeof sessionFactsSchema>;

/** A snapshot that somebody else made: what tells it apart from another one that got its id or its name later. */
export const usedSnapshotSchema = z.object({ snapshot: z.string(), name: z.string(), createdAt: z.string() });
export type UsedSnapshot = z.infer<typeof usedSnapshotSchema>;

/**
 * Intent before, outcome after, for every step that changes the world. `creating` and `removing` are intents: what
 * they announce may or may not have happened. A reader that meets an unknown event gives up rather than guess whether
 * a snapshot exists; a new event therefore needs a new version.
 */
const eventSchema = z.discriminatedUnion("event", [
  z.object({ event: z.literal("planned"), facts: sessionFactsSchema }),
  /** The user's command before the snapshot begins: what it stops has to go on, by the command after it. */
  z.object({ event: z.literal("hook-before") }),
  z.object({ event: z.literal("hook-after") }),
  z.object({ event: z.literal("creating"), quiesce: z.boolean() }),
  z.object({ event: z.literal("create-failed"), reason: z.string() }),
  z.object({ event: z.literal("created"), snapshot: z.string(), consistency: z.string() }),
  usedSnapshotSchema.extend({ event: z.literal("using") }),
  z.object({ event: z.literal("serving"), disks: z.number().int() }),
  z.object({ event: z.literal("unmounting"), reason: z.string() }),
  z.object({ event: z.literal("removing"), snapshot: z.string() }),
  z.object({ event: z.literal("removed") }),
  /** The policy lets the snapshot stay. */
  z.object({ event: z.literal("kept") }),
  z.object({ event: z.literal("leftover"), reason: z.string() }),
]);
export type JournalEvent = z.infer<typeof eventSchema>;

const envelopeSchema = z.object({
  v: z.union([z.literal(1), z.literal(2), z.literal(JOURNAL_VERSION)]),
  seq: z.number().int().nonnegative(),
  session: z.string(),
  time: z.string(),
});

export type JournalRecord = JournalEvent & z.infer<typeof envelopeSchema>;

const CHECKSUM_CHARS = 16;

/** One line: JSON, a tab, the first 16 hex digits of the JSON's SHA-256, a newline. */
export function encodeRecord(record: JournalRecord): string {
  // An administrator looks at it with cat: names must not take over the terminal.
  const json = printable(JSON.stringify(record));
  return `${json}\t${checksum(json)}\n`;
}

/**
 * @returns undefined when the checksum does not match: a torn or damaged line
 * @throws IntegrityError when the line is whole but of a form this version does not know
 */
export function decodeRecord(line: string): JournalRecord | undefined {
  const tab = line.lastIndexOf("\t");
  const json = line.slice(0, tab);
  if (tab < 0 || line.slice(tab + 1) !== checksum(json)) return undefined;
  const parsed = z.intersection(envelopeSchema, eventSchema).safeParse(parseJson(json));
  if (!parsed.success) {
    throw new IntegrityError("Cannot read a journal record: this version of vmmount does not know its form", {
      cause: parsed.error,
    });
  }
  return parsed.data;
}

/** Undefined, which no schema takes, for text that is not JSON. */
function parseJson(json: string): unknown {
  try {
    return JSON.parse(json) as unknown;
  } catch {
    // Whole by its checksum and still not JSON: the schema refuses it.
    return undefined;
  }
}

function checksum(json: string): string {
  return createHash("sha256").update(json).digest("hex").slice(0, CHECKSUM_CHARS);
}
