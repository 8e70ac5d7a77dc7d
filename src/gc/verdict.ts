import type { ClassifiedSnapshot } from "../snapshot/snapshot-class.js";

export interface GcRules {
  /** Also what other machines made, when it is old enough. */
  readonly allHosts: boolean;
  /** Leave alone what is younger than this; undefined: what is of this host goes at any age, others' past their own limit. */
  readonly olderThanMs: number | undefined;
}

export interface Verdict {
  readonly act: "remove" | "leave";
  /** Why, as part of a sentence. */
  readonly reason: string;
}

/**
 * Pure: what becomes of a snapshot that looks like a backup's.
 * @param ageMs undefined when nobody knows: then it is never old enough for anything
 * @returns undefined for a user's own snapshot, which is nobody's business
 */
export function judgeSnapshot(
  { class: kind, mark, isPastMaxAge }: ClassifiedSnapshot,
  ageMs: number | undefined,
  { allHosts, olderThanMs }: GcRules,
): Verdict | undefined {
  const isYounger = olderThanMs !== undefined && (ageMs === undefined || ageMs < olderThanMs);
  switch (kind) {
    case "user":
      return undefined;
    case "unknown":
      return { act: "leave", reason: "it is named like one of a backup, and nothing proves that vmmount made it" };
    case "live":
      return { act: "leave", reason: "a mount of this host uses it" };
    case "kept":
      return { act: "leave", reason: "the policy createonly left it, and it has not expired" };
    case "foreign-host": {
      const maker = `host "${mark?.host ?? "?"}" made it`;
      if (!allHosts) return { act: "leave", reason: `${maker}; see --all-hosts` };
      if (isYounger) return { act: "leave", reason: `${maker}, and it is younger than --older-than` };
      if (olderThanMs === undefined && !isPastMaxAge) {
        return { act: "leave", reason: `${maker}, and it is not past its maximum age` };
      }
      return { act: "remove", reason: `${maker}, and it is old enough` };
    }
    case "dead-local":
    case "expired": {
      if (isYounger) return { act: "leave", reason: "it is younger than --older-than" };
      const why = kind === "expired" ? "it has expired" : `session ${mark?.session ?? "?"} of this host left it`;
      return { act: "remove", reason: why };
    }
  }
}
