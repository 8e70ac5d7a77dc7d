import { readdir, realpath, stat } from "node:fs/promises";
import { basename, dirname, join, resolve } from "node:path";
import { BusyError, NotFoundError, RefusedError } from "../errors.js";
import { mountAt, readMounts, sessionOfMount } from "./mount-info.js";

/**
 * The absolute path without symbolic links, found without touching the last component: it may be a mount whose daemon
 * is gone or hangs.
 */
export async function canonicalMountPoint(path: string): Promise<string> {
  const absolute = resolve(path);
  const parent = await realpath(dirname(absolute)).catch(() => dirname(absolute));
  return absolute === "/" ? "/" : join(parent, basename(absolute));
}

/**
 * Checks that `path` is an existing, empty directory on which nothing is mounted.
 * @returns its canonical path
 * @throws NotFoundError, BusyError (a mount is there) or RefusedError (not a directory, or not empty)
 */
export async function checkMountPoint(path: string): Promise<string> {
  const named = await canonicalMountPoint(path);
  const mounts = await readMounts();
  // A mount is looked for before the path is touched: its daemon may be gone.
  refuseMounted(mountAt(mounts, named), named);
  const kind = await stat(named).catch((error: unknown) => {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") {
      throw new NotFoundError(`Cannot mount on "${named}": no such directory`, {
        cause: error,
        hint: `mkdir -p ${JSON.stringify(named)}`,
      });
    }
    throw new RefusedError(`Cannot mount on "${named}": ${(error as Error).message}`, { cause: error });
  });
  if (!kind.isDirectory()) throw new RefusedError(`Cannot mount on "${named}": it is not a directory`);
  const canonical = await realpath(named);
  refuseMounted(mountAt(mounts, canonical), canonical);
  if ((await readdir(canonical)).length > 0) {
    throw new RefusedError(`Cannot mount on "${canonical}": the directory is not empty`, {
      hint: "Use an empty directory: files under a mount are hidden, and a backup of them would be missing",
    });
  }
  return canonical;
}

function refuseMounted(mount: ReturnType<typeof mountAt>, path: string): void {
  if (mount === undefined) return;
  const session = sessionOfMount(mount);
  const what = session === undefined ? `"${mount.source}" (${mount.type})` : `vmmount session ${session}`;
  throw new BusyError(`Cannot mount on "${path}": ${what} is mounted there`, {
    hint: session === undefined ? "Choose another directory" : `vmmount umount ${JSON.stringify(path)}`,
  });
}
