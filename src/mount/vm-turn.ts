import { randomBytes } from "node:crypto";
import { setTimeout as delay } from "node:timers/promises";
import { type LockHolder, type LockPatience, isCleaner, VmLock, vmLockKey } from "../snapshot/lock.js";
import { daemonAt } from "./daemon-process.js";
import type { StatePaths } from "./state-paths.js";

const POLL_MS = 200;
/** Taking a lock and saying who took it are milliseconds apart. */
const NAMELESS_MS_MAX = 5_000;

export interface Waiting {
  readonly signal?: AbortSignal | undefined;
  readonly onProgress: (what: string, percent: number | undefined) => void;
  /** How long to wait for somebody who removes a snapshot. */
  readonly cleanerMs: number;
  /** How long to wait for a mount; 0 where that would be in vain. */
  readonly mountMs?: number;
  /** Whether there is nothing to wait for any more. */
  readonly isOver?: () => Promise<boolean>;
}

/**
 * How those who want a VM wait for each other: a cleaner is waited for, since whoever comes after it would have to remove
 * the same; a mount has the VM until its umount.
 */
export function waitForCleaners(vmName: string, waiting: Waiting): LockPatience {
  const { signal, onProgress, cleanerMs, mountMs = 0, isOver } = waiting;
  const beganAt = performance.now();
  return async (holder) => {
    const limitMs = await limitFor(holder, { cleanerMs, mountMs });
    if (performance.now() - beganAt >= limitMs || (await isOver?.()) === true) return false;
    if (holder !== undefined) onProgress(`Waiting for process ${holder.pid}, which works on "${vmName}"`, undefined);
    signal?.throwIfAborted();
    await delay(POLL_MS, undefined, { signal }).catch(() => undefined);
    signal?.throwIfAborted();
    return true;
  };
}

async function limitFor(
  holder: LockHolder | undefined,
  { cleanerMs, mountMs }: { readonly cleanerMs: number; readonly mountMs: number },
): Promise<number> {
  if (holder === undefined) return NAMELESS_MS_MAX;
  if (isCleaner(holder)) return cleanerMs;
  // The name of one that was killed stays until the next holder has written its own.
  const isAlive = (await daemonAt(holder.pid, holder.session)) !== undefined;
  return isAlive ? mountMs : NAMELESS_MS_MAX;
}

/**
 * Keeps mounts and other cleaners of the VM away while something of it is removed.
 * @throws BusyError when somebody has it for longer than `waiting` says
 */
export async function withLockedVm<T>(
  vm: { readonly ref: string; readonly name: string; readonly instanceUuid?: string | undefined },
  url: string,
  { paths, waiting }: { readonly paths: StatePaths; readonly waiting: Waiting },
  work: () => Promise<T>,
): Promise<T> {
  const holder = {
    session: `gc-${randomBytes(4).toString("hex")}`,
    mountPoint: "",
    pid: process.pid,
    since: new Date().toISOString(),
  };
  const patience = waitForCleaners(vm.name, waiting);
  const lock = await VmLock.take({ directory: paths.locks, vm: vmLockKey(vm, url), vmName: vm.name, holder, patience });
  try {
    return await work();
  } finally {
    await lock[Symbol.asyncDispose]();
  }
}
