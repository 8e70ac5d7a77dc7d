import type { Snapshot } from "../hypervisor.js";
import type { Ownership } from "../snapshot/ownership.js";

/** Two clocks at one moment. */
export interface Clocks {
  readonly ours: Date;
  /** The server's; undefined where it does not tell. */
  readonly theirs: Date | undefined;
}

/**
 * How old a snapshot is for certain, in milliseconds: by the server's clock, which dated it, and by ours and the date in its
 * mark, the lesser of both. One clock that is years off then makes nothing old, and a date in the future is an age of 0.
 * @returns undefined when no date can be read
 */
export function ageOf(
  { createdAt }: Pick<Snapshot, "createdAt">,
  mark: Pick<Ownership, "created"> | undefined,
  { ours, theirs }: Clocks,
): number | undefined {
  const byServer = createdAt.getTime() === 0 ? Number.NaN : (theirs ?? ours).getTime() - createdAt.getTime();
  const byMark = mark === undefined ? Number.NaN : ours.getTime() - Date.parse(mark.created);
  const known = [byServer, byMark].filter((age) => !Number.isNaN(age));
  return known.length === 0 ? undefined : Math.max(0, Math.min(...known));
}
