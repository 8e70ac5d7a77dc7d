import { realpath, stat } from "node:fs/promises";
import { BusyError, NotFoundError, UsageError } from "../../errors.js";

/**
 * The directory as the kernel will list it: absolute, without symbolic links. Asked before mounting: afterwards the path
 * leads to ourselves.
 * @throws NotFoundError, UsageError (no directory) or BusyError (the mount of a dead process is there)
 */
export async function mountPoint(where: string): Promise<string> {
  try {
    const target = await realpath(where);
    if ((await stat(target)).isDirectory()) return target;
  } catch (cause) {
    const code = (cause as NodeJS.ErrnoException).code;
    if (code === "ENOENT") throw new NotFoundError(`Cannot mount at ${where}: there is no such directory`, { cause });
    if (code !== "ENOTCONN") throw cause;
    const hint = `Remove it with "umount -l ${where}"`;
    throw new BusyError(`Cannot mount at ${where}: the mount of a dead process is there`, { cause, hint });
  }
  throw new UsageError(`Cannot mount at ${where}: it is not a directory`);
}
