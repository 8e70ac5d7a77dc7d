import { constants } from "node:fs";
import { access, lstat, stat, statfs } from "node:fs/promises";
import { dirname } from "node:path";
import { errorFacts, VmmountError } from "../errors.js";
import { refuseForeignDirectory } from "../mount/directory-owner.js";
import type { Settings } from "../settings.js";
import { MIB } from "../units.js";
import { fail, failed, type Finding, ok, warn } from "./finding.js";
import { roomText } from "./room.js";

/** Below this, journals and logs of a few mounts fill the file system. */
const STATE_BYTES_MIN = 64 * MIB;
/** Below this, hardly any disk can be fetched into the cache. */
const CACHE_BYTES_MIN = 1024 * MIB;

const DIRECTORIES = {
  "state.dir": { id: "host.state", what: "journals and logs", bytesMin: STATE_BYTES_MIN },
  "runtime.dir": { id: "host.runtime", what: "sockets and locks", bytesMin: MIB },
  "cache.dir": { id: "host.cache", what: "disks that a Xen pool gives only once", bytesMin: CACHE_BYTES_MIN },
} as const;
export type DirectoryKey = keyof typeof DIRECTORIES;

export function directoryId(key: DirectoryKey): string {
  return DIRECTORIES[key].id;
}

/** Whether a directory of ours can be written, and how much room it has. Makes nothing: one that is missing counts as its parent. */
export async function checkDirectory(key: DirectoryKey, settings: Pick<Settings, DirectoryKey>): Promise<Finding> {
  const { id, what, bytesMin } = DIRECTORIES[key];
  const path = settings[key];
  const shown = `${key} "${path}"`;
  const there = await nearest(path);
  try {
    if (!(await stat(there)).isDirectory()) return fail(id, "config", `${shown} is no directory`, "Name another one");
    await access(there, constants.W_OK | constants.X_OK);
    if (key === "runtime.dir" && there === path) await refuseForeignDirectory(path);
  } catch (error) {
    if (error instanceof VmmountError) return failed(id, errorFacts(error));
    const { code = String(error) } = error as NodeJS.ErrnoException;
    const reason = code === "ENOENT" ? `"${there}" is a link to what is not there` : code;
    return fail(id, "config", `${shown} cannot be written: ${reason}`, `Set ${key} to a directory of yours`);
  }
  const { bsize, bavail, blocks } = await statfs(there);
  const freeBytes = bsize * bavail;
  const text = `${shown}, for ${what}, ${there === path ? "is writable" : "can be made"} and has ${roomText(freeBytes, bsize * blocks)}`;
  return freeBytes < bytesMin ? warn(id, text, "Make room there") : ok(id, text);
}

/** The path itself or, where it is not there yet, what it would be made in. */
async function nearest(path: string): Promise<string> {
  for (let at = path; ; at = dirname(at)) {
    // A link to nothing is there all the same: nobody can make a directory in its place.
    const isThere = await lstat(at).then(
      () => true,
      (error: unknown) => (error as NodeJS.ErrnoException).code !== "ENOENT",
    );
    if (isThere || at === dirname(at)) return at;
  }
}
