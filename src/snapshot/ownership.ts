import { z } from "zod";
import type { Snapshot } from "../hypervisor.js";
import { SNAPSHOT_POLICIES } from "../settings.js";

/** What our snapshots say of themselves, as one line of JSON in their description. */
const ownershipSchema = z.object({
  tool: z.literal("vmmount"),
  version: z.string(),
  session: z.string(),
  host: z.string(),
  mountPoint: z.string(),
  created: z.string(),
  /** These came later: marks without them are read as well. */
  hostId: z.string().optional(),
  /** createonly: it was left there on purpose. */
  policy: z.enum(SNAPSHOT_POLICIES).optional(),
  /** Whoever finds it older than this may take it for forgotten. */
  maxAgeMs: z.number().positive().optional(),
});
export type Ownership = z.infer<typeof ownershipSchema>;

/** vSphere keeps snapshot names of up to 80 characters; this one has 18. */
export function snapshotName(session: string): string {
  return `vmmount-${session}`;
}

export function describeOwnership(ownership: Omit<Ownership, "tool">): string {
  return JSON.stringify({ tool: "vmmount", ...ownership } satisfies Ownership);
}

const importMarkSchema = ownershipSchema.pick({ tool: true, host: true, hostId: true, created: true });
/** What the task of an import says: who makes it. */
export type ImportMark = z.infer<typeof importMarkSchema>;

export function describeImport(mark: Omit<ImportMark, "tool">): string {
  return JSON.stringify({ tool: "vmmount", ...mark } satisfies ImportMark);
}

/** Undefined when it is none of ours. */
export function readImportMark(description: string): ImportMark | undefined {
  try {
    return importMarkSchema.safeParse(JSON.parse(description)).data;
  } catch {
    return undefined;
  }
}

/** Reads the mark of a snapshot; undefined when it is not one of ours. */
export function readOwnership(snapshot: Pick<Snapshot, "name" | "description">): Ownership | undefined {
  if (!snapshot.name.startsWith("vmmount-") || !snapshot.description.startsWith("{")) return undefined;
  try {
    const parsed = ownershipSchema.safeParse(JSON.parse(snapshot.description));
    if (parsed.success && snapshotName(parsed.data.session) === snapshot.name) return parsed.data;
  } catch {
    // Somebody edited the description: without the mark it is not provably ours.
    return undefined;
  }
  return undefined;
}

/**
 * A snapshot is removed only when its name and its mark both name the session. Where the mark comes after the name, a
 * snapshot without one is the session's that died in between: nobody else knows the 50 random bits of the name.
 */
export function isOfSession(
  snapshot: Pick<Snapshot, "name" | "description" | "lacksDescription">,
  session: string,
): boolean {
  if (snapshot.lacksDescription === true) return snapshot.name === snapshotName(session);
  return readOwnership(snapshot)?.session === session;
}
