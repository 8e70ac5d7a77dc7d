import { readFile } from "node:fs/promises";
import { directMountCalls } from "./direct-mount.js";
import { fusermountCalls } from "./fusermount.js";
import type { MountCalls } from "./mount-calls.js";

/**
 * What this process may use to mount.
 *
 * @param device path of /dev/fuse, for those who open it themselves
 */
export async function mountCalls(device?: string): Promise<MountCalls> {
  return (await mayMount()) ? directMountCalls(device) : fusermountCalls();
}

/** CAP_SYS_ADMIN, linux/capability.h. */
const CAP_SYS_ADMIN_BIT = 1n << 21n;

async function mayMount(): Promise<boolean> {
  return hasSysAdmin(await readFile("/proc/self/status", "utf8"));
}

/** @param status text of /proc/PID/status (proc(5)) */
export function hasSysAdmin(status: string): boolean {
  const effective = /^CapEff:\s*([0-9a-f]+)$/m.exec(status)?.[1];
  return effective !== undefined && (BigInt(`0x${effective}`) & CAP_SYS_ADMIN_BIT) !== 0n;
}
