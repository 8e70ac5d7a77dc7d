import { errorChain } from "../errors.js";
import { recoverInTurn } from "../mount/recover-in-turn.js";
import { findDaemon } from "../mount/daemon-process.js";
import { refuseElsewhere } from "../mount/recover-session.js";
import { listSessions, type SessionEntry } from "../mount/session-list.js";
import type { GcAction, GcRow } from "./report.js";
import type { GcSite } from "./site.js";

/** Sessions of this host's journals that have no process any more. */
export async function deadSessions({ paths }: Pick<GcSite, "paths">): Promise<SessionEntry[]> {
  return (await listSessions(paths)).filter(({ isLive }) => !isLive);
}

/** Cleans up after one of them, as `umount` would. Never rejects but for being stopped. */
export async function collectSession(entry: SessionEntry, site: GcSite): Promise<GcRow> {
  const { rules, dryRun, logger, signal } = site;
  const ageMs = entry.startedAt === undefined ? undefined : Math.max(0, Date.now() - Date.parse(entry.startedAt));
  const row = (action: GcAction, reason: string): GcRow => ({
    kind: "session",
    server: entry.facts?.server.name ?? "",
    vm: entry.facts?.vm.path ?? null,
    name: entry.id,
    ref: null,
    class: "dead-session",
    host: entry.facts?.host ?? null,
    ageSeconds: ageMs === undefined ? null : Math.round(ageMs / 1000),
    action,
    reason,
  });
  const { olderThanMs } = rules;
  if (olderThanMs !== undefined && (ageMs === undefined || ageMs < olderThanMs)) {
    return row("left", "it is younger than --older-than");
  }
  // Its journal was replaced, as by a restore of state.dir: the lock is on the file that was there before.
  const daemon = await findDaemon(entry.id, "any user");
  if (daemon !== undefined) return row("left", `its mount daemon, process ${daemon.pid}, is at work`);
  const on = entry.facts === undefined ? "" : ` on "${entry.facts.mountPoint}"`;
  try {
    refuseElsewhere(entry, site.paths);
  } catch (error) {
    return row("failed", failureText(error));
  }
  if (dryRun) return row("would-remove", `its mount daemon${on} is gone`);
  try {
    const { config, logins } = site;
    const options = { ...site, settings: config.settings, server: logins.earlier, force: false };
    return row("removed", await recoverInTurn(entry, options));
  } catch (error) {
    signal.throwIfAborted();
    logger.debug("Cannot recover the session", { session: entry.id, error: errorChain(error) });
    return row("failed", failureText(error));
  }
}

function failureText(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
