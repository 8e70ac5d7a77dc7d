import { mkdtemp, rmdir, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { errorChain } from "../../errors.js";
import { MNT_DETACH, MS_NODEV, MS_NOEXEC, MS_NOSUID, mount, umount } from "../../libc.js";
import type { Logger } from "../../log.js";

/** As large as one READ: more would not make requests larger, and small random reads would drag more along. */
export const READ_AHEAD_KIB = 1024;

/**
 * Raises the kernel's read-ahead of a mount from its 128 KiB, which FUSE itself cannot: sequential readers then ask
 * for 1 MiB at a time. Without it everything works, only slower.
 * @returns whether it worked
 */
export async function raiseReadAhead(device: string, logger: Logger): Promise<boolean> {
  const file = `/sys/class/bdi/${device}/read_ahead_kb`;
  try {
    await writeFile(file, String(READ_AHEAD_KIB));
    return true;
  } catch (error) {
    logger.warn("Cannot raise the kernel's read-ahead: copying will be slower", { file, reason: errorChain(error) });
    return false;
  }
}

/**
 * Aborts a FUSE connection through the kernel's control file system (Documentation/filesystems/fuse, "Control
 * filesystem"): every waiting and every later caller gets an error, even on a mount that no path leads to any more.
 * @param device `major:minor` of the mount; the connection is called by the minor
 */
export async function abortConnection(device: string): Promise<void> {
  const connection = device.slice(device.indexOf(":") + 1);
  try {
    await writeFile(join("/sys/fs/fuse/connections", connection, "abort"), "1");
  } catch (error) {
    // Usually systemd mounts it; where it does not, a private mount does the same.
    if ((error as NodeJS.ErrnoException).code !== "ENOENT") throw error;
    await abortThroughPrivateMount(connection);
  }
}

async function abortThroughPrivateMount(connection: string): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), "vmmount-fusectl-"));
  try {
    const flags = MS_NOSUID | MS_NODEV | MS_NOEXEC;
    await mount({ source: "fusectl", target: folder, type: "fusectl", flags, data: "" });
    try {
      await writeFile(join(folder, connection, "abort"), "1");
    } finally {
      await umount(folder, MNT_DETACH);
    }
  } finally {
    await rmdir(folder);
  }
}
