import { readdir, readlink } from "node:fs/promises";
import { FUSE_DEVICE } from "../fuse/open-device.js";

const DESCRIPTORS = "/proc/self/fd";

/** The open descriptors of this process that are the FUSE device: one for each mount it serves. */
export async function fuseDescriptors(): Promise<ReadonlySet<string>> {
  const found = new Set<string>();
  for (const fd of await readdir(DESCRIPTORS)) if (await isFuseDescriptor(fd)) found.add(fd);
  return found;
}

/**
 * Whether libfuse still serves the mount of this descriptor: it closes it when the kernel has let go and its threads
 * have ended, and tells nobody.
 */
export async function isFuseDescriptor(fd: string): Promise<boolean> {
  try {
    return (await readlink(`${DESCRIPTORS}/${fd}`)) === FUSE_DEVICE;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return false;
    throw error;
  }
}
