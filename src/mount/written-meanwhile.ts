import { deadline } from "../deadline.js";
import { errorChain, UnreachableError } from "../errors.js";
import type { OpenedDisk } from "../hypervisor.js";
import type { Logger } from "../log.js";
import type { Consistency } from "../snapshot/quiesce.js";

/** One look at each file; an NFS server that does not answer by then keeps nobody from unmounting. */
const LOOK_MS_MAX = 30_000;

export interface WrittenMeanwhileParts {
  readonly disks: readonly { readonly opened: OpenedDisk }[];
  readonly consistency: Consistency;
  readonly vmName: string;
  readonly logger: Logger;
}

/**
 * Whether somebody wrote to the disks while they were mounted, where no snapshot holds them still: the VM was started,
 * most likely. Of a VM that looked running when it was mounted the user knows, and it is only logged.
 * @returns what was written, in words, when it makes a backup worthless that looked good so far
 */
export async function writtenMeanwhile(parts: WrittenMeanwhileParts): Promise<string | undefined> {
  const { disks, consistency, vmName, logger } = parts;
  const signal = deadline(LOOK_MS_MAX, () => new UnreachableError("Looking at the disk files took too long"));
  const late = new Promise<never>((_, reject) => {
    signal.addEventListener("abort", () => {
      reject(signal.reason as Error);
    });
  });
  const written: string[] = [];
  try {
    for (const { opened } of disks) {
      const what = await Promise.race([opened.writtenSince?.({ signal }), late]);
      if (what !== undefined) written.push(what);
    }
  } catch (error) {
    logger.warn(
      `Cannot see whether the disks of "${vmName}" were written while they were mounted: ${errorChain(error)}`,
    );
  }
  if (written.length === 0) return undefined;
  const text = written.join(", ");
  if (consistency !== "inconsistent") return text;
  logger.warn(
    `While "${vmName}" was mounted, ${text}: as the warning at the start said, its files do not fit together`,
  );
  return undefined;
}
