import { ConfigError, VmmountError } from "./errors.js";

/** Settings that name directories for files of our own. */
export type OwnDirectory = "state.dir" | "runtime.dir";

/** A file of our own that cannot be made or written. */
export interface UnwritableFile {
  /** After "Cannot", with the directory, such as `make a journal in "/var/lib/vmmount/sessions"`. */
  readonly doing: string;
  /** Which setting names another place for it. */
  readonly setting: OwnDirectory;
}

/** What stat(2) and write(2) say of a disk without room, or of a user who may not use more of it. */
const NO_ROOM: Readonly<Record<string, string>> = {
  ENOSPC: "there is no room left on its disk",
  EDQUOT: "the user's quota there is used up",
};

/**
 * What to tell of it: exit 80 without room, 78 for everything else that the system says. Errors that do not come from
 * the system are given back as they are.
 */
export function unwritable({ doing, setting }: UnwritableFile, cause: unknown): unknown {
  const code = cause instanceof Error ? (cause as NodeJS.ErrnoException).code : undefined;
  if (cause instanceof VmmountError || code === undefined) return cause;
  const noRoom = NO_ROOM[code];
  if (noRoom !== undefined) {
    return new VmmountError(`Cannot ${doing}: ${noRoom}`, "space", {
      cause,
      hint: `Make room there, or set ${setting} to a directory on another disk`,
    });
  }
  return new ConfigError(`Cannot ${doing}: ${(cause as Error).message}`, {
    cause,
    hint: `Set ${setting} to a directory of yours on a disk that can be written`,
  });
}
