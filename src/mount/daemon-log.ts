import { closeSync, constants, lstatSync, openSync, readdirSync, unlinkSync, writeSync } from "node:fs";
import { join } from "node:path";
import { unwritable } from "../unwritable.js";

/** Logs of ended sessions are kept for support: at 0.1 to 10 MB each this is at most a few hundred megabytes. */
const LOGS_KEPT = 50;

const { O_WRONLY, O_CREAT, O_APPEND, O_NONBLOCK } = constants;
/** A pipe without a reader, or with a slow one, must not hold up a mount. */
const FLAGS = O_WRONLY | O_CREAT | O_APPEND | O_NONBLOCK;

/** The daemon's log: one file a session, mode 0600, written at once so that a crash loses nothing. */
export class DaemonLog {
  #fd: number | undefined;

  /** @throws VmmountError "space" on a full disk: there will be no journal either; ConfigError */
  constructor(path: string) {
    try {
      this.#fd = openSync(path, FLAGS, 0o600);
    } catch (error) {
      throw unwritable({ doing: `make log file "${path}"`, setting: "state.dir" }, error);
    }
  }

  /** Does nothing after `close`: the descriptor may be another file by then. */
  write(line: string): void {
    if (this.#fd === undefined) return;
    try {
      writeSync(this.#fd, line);
    } catch {
      // A disk that is full, over quota, read-only or dead must not end a mount, nor keep a snapshot from being removed:
      // every step of the way down writes a line.
    }
  }

  close(): void {
    if (this.#fd !== undefined) closeSync(this.#fd);
    this.#fd = undefined;
  }
}

/**
 * Removes the oldest logs beyond the number that is kept; others may do the same at the same time. What is no file, or
 * cannot be removed, stays: no mount fails for that.
 * @param unended sessions whose logs stay at any age: a clock that was set back makes even the newest one old
 */
export function pruneLogs(directory: string, unended: ReadonlySet<string>): void {
  const logs = readdirSync(directory)
    .filter((name) => name.endsWith(".log") && !unended.has(name.slice(0, -".log".length)))
    .map((name) => join(directory, name))
    .map((path) => ({ path, found: lstatSync(path, { throwIfNoEntry: false }) }))
    .flatMap(({ path, found }) => (found?.isFile() === true ? { path, time: found.mtimeMs } : []))
    .sort((a, b) => b.time - a.time);
  for (const { path } of logs.slice(LOGS_KEPT)) removeIfPossible(path);
}

function removeIfPossible(path: string): void {
  try {
    unlinkSync(path);
  } catch {
    // Gone, somebody else's, or on a disk that is read-only.
  }
}
