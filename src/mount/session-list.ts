import { readdir } from "node:fs/promises";
import { ConfigError, errorChain } from "../errors.js";
import { tryLock } from "../libc.js";
import { openWithoutWaiting } from "../regular-file.js";
import { readJournal } from "../snapshot/journal.js";
import type { JournalRecord, SessionFacts } from "../snapshot/journal-record.js";
import { isSessionId, type StatePaths } from "./state-paths.js";

/** A session that this host's journal knows. */
export interface SessionEntry {
  readonly id: string;
  /** Undefined before the session was planned, or when the journal is damaged. */
  readonly facts: SessionFacts | undefined;
  readonly records: readonly JournalRecord[];
  /** Its daemon runs: it holds the lock of the journal. */
  readonly isLive: boolean;
  readonly startedAt: string | undefined;
  /** Why the journal cannot be read. */
  readonly damage: string | undefined;
}

/** Every session of the journal directory, oldest first. */
export async function listSessions(paths: StatePaths): Promise<SessionEntry[]> {
  const names = await readdir(paths.sessions).catch((error: unknown) => {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return [];
    throw new ConfigError(`Cannot list the sessions of "${paths.sessions}": ${(error as Error).message}`, {
      cause: error,
      hint: "Run as the user who mounted, usually root",
    });
  });
  const ids = names.filter((name) => name.endsWith(".journal")).map((name) => name.slice(0, -".journal".length));
  const entries = await Promise.all(ids.filter(isSessionId).map((id) => readSession(paths, id)));
  return entries
    .filter((entry) => entry !== undefined)
    .sort((a, b) => (a.startedAt ?? "").localeCompare(b.startedAt ?? "") || a.id.localeCompare(b.id));
}

async function readSession(paths: StatePaths, id: string): Promise<SessionEntry | undefined> {
  let records: JournalRecord[] = [];
  let damage: string | undefined;
  let isLive = false;
  try {
    const isHeld = await isLocked(paths.journal(id));
    if (isHeld === undefined) return undefined;
    isLive = isHeld;
    records = await readJournal(paths.journal(id));
  } catch (error) {
    // Erased between the two looks: the session ended well.
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    // Also of one that cannot even be opened: it must not keep the other sessions from being listed and unmounted.
    damage = errorChain(error);
  }
  const planned = records.find((record) => record.event === "planned");
  return { id, records, isLive, damage, facts: planned?.facts, startedAt: planned?.time };
}

/** Whether the process that wrote a record still holds its lock; undefined when the file is gone. */
export async function isLocked(path: string): Promise<boolean | undefined> {
  try {
    const file = await openWithoutWaiting(path);
    try {
      // Shared, so that two who look at once do not take each other for the daemon.
      return !tryLock(file.fd, "shared");
    } finally {
      await file.close();
    }
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    throw error;
  }
}
