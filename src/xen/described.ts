import { map, text } from "./xapi/fields.js";
import type { XapiRecord } from "./xapi/value.js";

/** What our snapshots are called: nobody else knows the 50 random bits. */
const SESSION_NAME = /^vmmount-([0-9a-z]{10})$/;

/** In the snapshot's other_config: its own UUID, since a snapshot inherits what its VM has there. */
export const DESCRIBED_KEY = "vmmount-described";

/**
 * Whether a snapshot of ours has its name and not yet its description: a new one has its VM's, which may be the mark of
 * another session. Only ours are made in two steps.
 */
export function lacksDescription(record: XapiRecord): boolean {
  const [, session] = SESSION_NAME.exec(text(record, "name_label")) ?? [];
  if (session === undefined || text(record, "name_description").includes(`"session":"${session}"`)) return false;
  return map(record, "other_config").get(DESCRIBED_KEY) !== text(record, "uuid");
}
