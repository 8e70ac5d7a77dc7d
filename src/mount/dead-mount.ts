import { BusyError, RefusedError } from "../errors.js";
import { mountCalls } from "../fs/fuse/mount-rights.js";
import { statFileSystem } from "../libc.js";
import type { Logger } from "../log.js";
import type { MountInfo } from "../mount-info.js";
import { ownerOfMount } from "./mount-source.js";

/** A living daemon answers within milliseconds. */
const ANSWER_MS_MAX = 5000;

/**
 * Detaches a mount whose daemon is in no process table: its files only answer "Transport endpoint is not connected".
 * @throws RefusedError for a mount that answers all the same: its daemon runs in another container; BusyError for one
 *   that neither answers nor fails, unless `force`
 */
export async function detachDead(
  mount: MountInfo,
  { force, logger }: { force: boolean; logger: Logger },
): Promise<void> {
  const { mountPoint } = mount;
  const answer = await ask(mount);
  if (answer === "alive") {
    throw new RefusedError(
      `Cannot unmount "${mountPoint}": it is alive, and its mount daemon is no process seen here`,
      {
        hint: "Run vmmount umount where its daemon runs, such as in the other container; umount(8) works there as well",
      },
    );
  }
  if (answer === "silent" && !force) {
    throw new BusyError(
      `Cannot unmount "${mountPoint}": it does not answer, and its mount daemon is no process seen here`,
      {
        retryable: true,
        hint: "Try again in a minute, or give --force",
      },
    );
  }
  await (await mountCalls()).detach(mountPoint);
  logger.info(`Detached the dead mount on "${mountPoint}"`);
}

async function ask(mount: MountInfo): Promise<"alive" | "dead" | "silent"> {
  // The kernel answers for the daemon to whoever may not enter.
  const mayEnter = ownerOfMount(mount) === process.geteuid?.() || mount.options.includes("allow_other");
  if (!mayEnter) return "dead";
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<"silent">((resolve) => {
    timer = setTimeout(() => {
      resolve("silent");
    }, ANSWER_MS_MAX);
  });
  try {
    const answer = statFileSystem(mount.mountPoint).then(
      () => "alive" as const,
      () => "dead" as const,
    );
    return await Promise.race([answer, late]);
  } finally {
    clearTimeout(timer);
  }
}
