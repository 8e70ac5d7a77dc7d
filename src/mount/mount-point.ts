import { readdir, readlink, realpath, stat } from "node:fs/promises";
import { isAbsolute, join, resolve } from "node:path";
import { BusyError, NotFoundError, RefusedError, UsageError } from "../errors.js";
import { type MountInfo, readMountInfo, topMountAt } from "../mount-info.js";
import { sessionOfMount } from "./mount-source.js";

/** As many links as the kernel follows in one path (path_resolution(7)). */
const LINKS_MAX = 40;

/**
 * The absolute path without symbolic links, found without asking the file system that is mounted there, or a mount of
 * ours on the way: its daemon may be gone or hang. readlink(2) of a mounted directory is answered by the kernel alone,
 * unlike stat(2).
 * @throws what `absolutePath` throws
 */
export async function canonicalMountPoint(path: string): Promise<string> {
  const own = new Set((await ownMounts()).map(({ mountPoint }) => mountPoint));
  const names = namesOf(absolutePath(path));
  let at = "/";
  let links = 0;
  for (let name = names.shift(); name !== undefined; name = names.shift()) {
    // There are no links in a mount of ours.
    if (own.has(at)) return join(at, name, ...names);
    const named = join(at, name);
    const target = links < LINKS_MAX ? await readlink(named).catch(() => undefined) : undefined;
    if (target === undefined) {
      at = named;
      continue;
    }
    links++;
    names.unshift(...namesOf(target));
    if (isAbsolute(target)) at = "/";
  }
  return at;
}

/**
 * @throws UsageError for an empty path, which an unset variable of a script gives and which must not mean the working
 *   directory; NotFoundError when that is gone and would be needed
 */
export function absolutePath(path: string): string {
  if (path === "") throw new UsageError("Cannot use an empty text as a directory", { hint: "Name the directory" });
  try {
    return resolve(path);
  } catch (cause) {
    throw new NotFoundError(`Cannot find "${path}": the working directory does not exist any more`, {
      cause,
      hint: "Change to another directory, or give a path that begins with /",
    });
  }
}

function namesOf(path: string): string[] {
  return path.split("/").filter((name) => name !== "");
}

async function ownMounts(): Promise<MountInfo[]> {
  return (await readMountInfo()).filter((mount) => sessionOfMount(mount) !== undefined);
}

/** @throws RefusedError when a canonical path is inside a mount of ours: nothing can be made there, and it may hang */
export async function refuseInsideMount(path: string): Promise<void> {
  const around = (await ownMounts()).find(({ mountPoint }) => path.startsWith(`${mountPoint}/`));
  if (around === undefined) return;
  const session = sessionOfMount(around) ?? "";
  throw new RefusedError(`Cannot mount on "${path}": it is inside vmmount session ${session}`, {
    hint: `Choose a directory outside of "${around.mountPoint}"`,
  });
}

/**
 * Checks that `path` is an existing, empty directory on which nothing is mounted.
 * @returns its canonical path
 * @throws NotFoundError, BusyError (a mount is there) or RefusedError (not a directory, or not empty)
 */
export async function checkMountPoint(path: string): Promise<string> {
  const named = await canonicalMountPoint(path);
  const mounts = await readMountInfo();
  // A mount is looked for before the path is touched: its daemon may be gone.
  refuseMounted(topMountAt(mounts, named), named);
  await refuseInsideMount(named);
  const kind = await stat(named).catch((error: unknown) => {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") {
      throw new NotFoundError(`Cannot mount on "${named}": no such directory`, {
        cause: error,
        hint: `mkdir -p ${JSON.stringify(named)}`,
      });
    }
    throw unusable(named, error);
  });
  if (!kind.isDirectory()) throw new RefusedError(`Cannot mount on "${named}": it is not a directory`);
  const canonical = await realpath(named);
  refuseMounted(topMountAt(mounts, canonical), canonical);
  const found = await readdir(canonical).catch((error: unknown) => {
    throw unusable(canonical, error);
  });
  if (found.length > 0) {
    throw new RefusedError(`Cannot mount on "${canonical}": the directory is not empty`, {
      hint: "Use an empty directory: files under a mount are hidden, and a backup of them would be missing",
    });
  }
  return canonical;
}

function unusable(path: string, cause: unknown): RefusedError {
  return new RefusedError(`Cannot mount on "${path}": ${(cause as Error).message}`, { cause });
}

function refuseMounted(mount: ReturnType<typeof topMountAt>, path: string): void {
  if (mount === undefined) return;
  const session = sessionOfMount(mount);
  const what = session === undefined ? `"${mount.source}" (${mount.type})` : `vmmount session ${session}`;
  throw new BusyError(`Cannot mount on "${path}": ${what} is mounted there`, {
    hint: session === undefined ? "Choose another directory" : `vmmount umount ${JSON.stringify(path)}`,
  });
}
