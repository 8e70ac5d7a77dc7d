import { listSessions } from "../mount/session-list.js";
import type { StatePaths } from "../mount/state-paths.js";
import { type Finding, ok, warn } from "./finding.js";

/** So many are named; the rest is counted. */
const NAMED_MAX = 5;

/** Sessions of this host whose daemon is gone: each may have left a snapshot. */
export async function checkSessions(paths: StatePaths): Promise<Finding> {
  const id = "host.sessions";
  const sessions = await listSessions(paths);
  const dead = sessions.filter(({ isLive }) => !isLive).map((one) => one.id);
  if (dead.length === 0) return ok(id, `${sessions.length} mounts of this host, none of them dead`);
  const named = dead.slice(0, NAMED_MAX).join(", ");
  const more = dead.length > NAMED_MAX ? ` and ${dead.length - NAMED_MAX} more` : "";
  return warn(
    id,
    `The mount daemon of ${dead.length} sessions is gone, and a snapshot may be left: ${named}${more}`,
    'Run "vmmount umount --all"',
  );
}
