import { rm } from "node:fs/promises";
import type { Journal } from "../snapshot/journal.js";
import type { StatePaths } from "./state-paths.js";

/**
 * Forgets a session that left nothing behind. Its control socket goes first: once the journal is gone nobody looks for
 * that any more. Commands that are connected stay so, and a later one finds the mount gone. A socket that cannot be
 * removed, as in a runtime directory that is read-only by now, does not keep the session.
 */
export async function eraseSession(paths: StatePaths, session: string, journal: Journal): Promise<void> {
  await rm(paths.controlSocket(session), { force: true }).catch(() => undefined);
  await journal.erase();
}
