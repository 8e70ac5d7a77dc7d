import { errorChain } from "../errors.js";
import { askStatus } from "./control-client.js";
import { controlEndpoint } from "./control-endpoint.js";
import type { SessionStatus } from "./control-protocol.js";
import { daemonAt } from "./daemon-process.js";
import { listSessions, type SessionEntry } from "./session-list.js";
import type { StatePaths } from "./state-paths.js";

/** A session as `vmmount status` shows it. */
export type SessionReport =
  | ({ readonly alive: true } & SessionStatus)
  | {
      readonly alive: false;
      readonly session: string;
      readonly mountPoint: string | undefined;
      readonly vm: { readonly name: string; readonly path: string } | undefined;
      readonly startedAt: string | undefined;
      /** The last journaled event, such as "leftover". */
      readonly state: string;
      readonly problem: string;
    };

export async function reportSessions(paths: StatePaths): Promise<SessionReport[]> {
  const sessions = await listSessions(paths);
  const reports = await Promise.all(sessions.map((entry) => report(entry, paths)));
  return reports.filter((one) => one !== undefined);
}

async function report(entry: SessionEntry, paths: StatePaths): Promise<SessionReport | undefined> {
  if (!entry.isLive) return deadReport(entry, lastReason(entry));
  try {
    const daemon = entry.facts && (await daemonAt(entry.facts.pid, entry.id));
    const { path, owner } = await controlEndpoint(entry.id, daemon?.uid ?? process.geteuid?.() ?? 0, paths);
    return { alive: true, ...(await askStatus(path, owner)) };
  } catch (error) {
    const now = (await listSessions(paths)).find(({ id }) => id === entry.id);
    // It ended between the two looks.
    if (now === undefined) return undefined;
    return deadReport(now, `its daemon does not answer: ${errorChain(error)}`);
  }
}

function lastReason(entry: SessionEntry): string {
  const leftover = entry.records.findLast((record) => record.event === "leftover");
  if (entry.damage !== undefined) return entry.damage;
  return leftover === undefined ? "its mount daemon is gone" : `its snapshot was left: ${leftover.reason}`;
}

function deadReport(entry: SessionEntry, problem: string): SessionReport {
  return {
    alive: false,
    session: entry.id,
    mountPoint: entry.facts?.mountPoint,
    vm: entry.facts && { name: entry.facts.vm.name, path: entry.facts.vm.path },
    startedAt: entry.startedAt,
    state: entry.records.at(-1)?.event ?? "unknown",
    problem,
  };
}
