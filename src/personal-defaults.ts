import { homedir } from "node:os";
import { isAbsolute, join } from "node:path";
import { ConfigError } from "./errors.js";
import type { SettingKey } from "./settings.js";

/** Who runs vmmount. */
export interface Person {
  readonly uid: number;
  readonly gid: number;
  /** Of the password database, for when HOME is not set. */
  readonly home: string;
}

/**
 * Defaults of a normal user: directories of the XDG Base Directory Specification, and files in the mount that he can
 * read. Root has the defaults of the settings themselves.
 */
export function personalDefaults(
  person: Person,
  env: Readonly<Record<string, string | undefined>>,
): Partial<Record<SettingKey, string | number>> {
  if (person.uid === 0) return {};
  const state = absolute(env["XDG_STATE_HOME"]) ?? join(absolute(env["HOME"]) ?? person.home, ".local/state");
  const cache = absolute(env["XDG_CACHE_HOME"]) ?? join(absolute(env["HOME"]) ?? person.home, ".cache");
  const runtime = absolute(env["XDG_RUNTIME_DIR"]);
  // The name can be guessed: whoever uses it checks that nobody else made it.
  const ours = runtime === undefined ? `/tmp/vmmount-${person.uid}` : join(runtime, "vmmount");
  return {
    "state.dir": join(state, "vmmount"),
    "cache.dir": join(cache, "vmmount"),
    "runtime.dir": ours,
    "mount.root": join(ours, "mounts"),
    "mount.uid": person.uid,
    "mount.gid": person.gid,
  };
}

/** What the password database says; undefined for a uid that is not in it, as in containers. Asked only when HOME is not set. */
export function homeOfDatabase(): string | undefined {
  try {
    return homedir();
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ERR_SYSTEM_ERROR") return undefined;
    throw error;
  }
}

/** @throws ConfigError for a user without one */
export function neededHome(): string {
  const home = homeOfDatabase();
  if (home !== undefined) return home;
  throw new ConfigError(
    "Cannot choose directories for this user: HOME is not set, and the password database has none",
    {
      hint: "Set HOME to a directory of this user, or both XDG_STATE_HOME and XDG_CACHE_HOME",
    },
  );
}

/** The specification: an empty or relative value counts as unset. */
function absolute(path: string | undefined): string | undefined {
  return path !== undefined && isAbsolute(path) ? path : undefined;
}
