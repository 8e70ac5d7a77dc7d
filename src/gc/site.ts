import { randomBytes } from "node:crypto";
import type { Config } from "../config.js";
import type { VmIdentity } from "../hypervisor.js";
import type { Logger } from "../log.js";
import type { ServerChoice } from "../mount/connection.js";
import type { StatePaths } from "../mount/state-paths.js";
import { VmLock, vmLockKey } from "../snapshot/lock.js";
import type { Logins } from "./logins.js";
import type { GcRules } from "./verdict.js";

export interface GcOptions {
  readonly config: Config;
  readonly paths: StatePaths;
  readonly choice: ServerChoice;
  readonly logger: Logger;
  /** Aborted with a CancelledError to stop. */
  readonly signal: AbortSignal;
  readonly onProgress: (what: string, percent: number | undefined) => void;
  /** Names or URLs; empty: every configured one. */
  readonly servers: readonly string[];
  readonly rules: GcRules;
  readonly dryRun: boolean;
  /** Merge delta files of every VM that needs it, whoever left them. */
  readonly consolidate: boolean;
}

/** What all steps of one run have in common. */
export interface GcSite extends GcOptions {
  readonly logins: Logins;
}

/**
 * Keeps mounts of the VM away while something of it is removed.
 * @throws BusyError when one is there, or another vmmount cleans it up
 */
export async function withLockedVm<T>(
  vm: Pick<VmIdentity, "ref" | "name"> & { readonly instanceUuid?: string | undefined },
  url: string,
  { paths }: Pick<GcSite, "paths">,
  work: () => Promise<T>,
): Promise<T> {
  const holder = {
    session: `gc-${randomBytes(4).toString("hex")}`,
    mountPoint: "",
    pid: process.pid,
    since: new Date().toISOString(),
  };
  const lock = await VmLock.take({ directory: paths.locks, vm: vmLockKey(vm, url), vmName: vm.name, holder });
  try {
    return await work();
  } finally {
    await lock[Symbol.asyncDispose]();
  }
}
