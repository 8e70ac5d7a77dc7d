import { lstat } from "node:fs/promises";
import { RefusedError } from "../errors.js";

/**
 * Control sockets and locks are only as good as the directory they are in: in one that somebody else made, such as under
 * a name in /tmp that he guessed, he could answer for a mount daemon or remove the locks. A symbolic link counts as
 * what its own owner is.
 * @throws RefusedError unless `path` is this user's or root's; ENOENT and the like as they are
 */
export async function refuseForeignDirectory(path: string, uid = process.geteuid?.() ?? 0): Promise<void> {
  const found = await lstat(path);
  if (found.uid === uid || found.uid === 0) return;
  throw new RefusedError(`Cannot use directory "${path}": it belongs to user ${found.uid}`, {
    hint: "Set runtime.dir to a directory of yours that nobody else can write to",
  });
}
