import { createHash } from "node:crypto";
import { fstatSync } from "node:fs";
import { type FileHandle, open } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { z } from "zod";
import { BusyError, NotFoundError } from "../errors.js";
import { tryLock } from "../libc.js";
import { readRegularFile } from "../regular-file.js";
import { unwritable } from "../unwritable.js";

const holderSchema = z.object({
  session: z.string(),
  mountPoint: z.string(),
  pid: z.number(),
  since: z.string(),
});
export type LockHolder = z.infer<typeof holderSchema>;

/** A holder has some hundred bytes. */
const HOLDER_BYTES_MAX = 64 * 1024;

/**
 * Whether to try once more to get a lock that another one has; it waits a while itself.
 * @param holder undefined when the holder has not said yet who it is
 */
export type LockPatience = (holder: LockHolder | undefined) => Promise<boolean>;

/** Whoever removes what earlier mounts have left mounts nothing. */
export function isCleaner({ mountPoint }: LockHolder): boolean {
  return mountPoint === "";
}

/**
 * One mount per VM: two backups of a VM at once would each remove what the other reads. The lock is flock(2), so it
 * ends with the process that holds it, however that ends.
 */
export class VmLock implements AsyncDisposable {
  readonly #file: FileHandle;

  private constructor(file: FileHandle) {
    this.#file = file;
  }

  /** @throws BusyError naming the holder's mount point, pid and start time, when `patience` is at its end */
  static async take(options: {
    readonly directory: string;
    readonly patience?: LockPatience;
    /** See vmLockKey. */
    readonly vm: string;
    readonly vmName: string;
    readonly holder: LockHolder;
  }): Promise<VmLock> {
    const { directory, vm, vmName, holder, patience } = options;
    const doing = isCleaner(holder) ? "clean up after" : "mount";
    return VmLock.#take(directory, lockName(vm), holder, (other) => vmBusy(doing, vmName, other), patience);
  }

  /**
   * One mount per directory: both of two mounts that begin at once find it empty, the second would lie over the first,
   * and a backup would read the wrong VM under the right name.
   * @throws BusyError naming the other session and its process
   */
  static async takeMountPoint(directory: string, holder: LockHolder): Promise<VmLock> {
    const name = lockName(`mount point ${holder.mountPoint}`);
    return VmLock.#take(directory, name, holder, (other) => mountPointBusy(holder.mountPoint, other));
  }

  static async #take(
    directory: string,
    name: string,
    holder: LockHolder,
    busy: (other: LockHolder | undefined) => BusyError,
    patience: LockPatience = () => Promise.resolve(false),
  ): Promise<VmLock> {
    const path = join(directory, name);
    const file = await open(path, "a+", 0o600).catch((error: unknown) => {
      throw unwritable({ doing: `make a lock in "${directory}"`, setting: "runtime.dir" }, error);
    });
    try {
      while (!tryLock(file.fd)) {
        const other = await readHolder(path);
        if (!(await patience(other))) throw busy(other);
      }
      // Only others read it, to tell who we are: on a full disk they do without.
      await file
        .truncate(0)
        .then(() => file.appendFile(JSON.stringify(holder)))
        .catch(() => undefined);
      return new VmLock(file);
    } catch (error) {
      await file.close();
      throw error;
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    try {
      // Whoever finds the lock taken before its next holder has written must not be told our name.
      await this.#file.truncate(0);
    } finally {
      await this.#file.close();
    }
  }
}

/** What names a VM in its lock, on every server: copies that share an instance UUID share the lock as well. */
export function vmLockKey(
  { instanceUuid, ref }: { readonly instanceUuid?: string | undefined; readonly ref: string },
  serverUrl: string,
): string {
  return instanceUuid ?? `${serverUrl} ${ref}`;
}

function lockName(text: string): string {
  return `${createHash("sha256").update(text).digest("hex").slice(0, 32)}.lock`;
}

/** Undefined when the holder has the lock but has not written its line yet: the message does without it. */
async function readHolder(path: string): Promise<LockHolder | undefined> {
  try {
    return holderSchema.parse(JSON.parse((await readRegularFile(path, HOLDER_BYTES_MAX)).toString()));
  } catch {
    return undefined;
  }
}

function mountPointBusy(mountPoint: string, holder: LockHolder | undefined): BusyError {
  const who =
    holder === undefined
      ? "another vmmount is mounting there"
      : `session ${holder.session}, process ${holder.pid}, uses it since ${holder.since}`;
  return new BusyError(`Cannot mount on "${mountPoint}": ${who}`, { hint: "Give each VM a directory of its own" });
}

function vmBusy(doing: string, vmName: string, holder: LockHolder | undefined): BusyError {
  const who =
    holder === undefined
      ? "another vmmount works on it"
      : isCleaner(holder)
        ? `vmmount gc or umount, process ${holder.pid}, cleans it up since ${holder.since}`
        : `it is mounted on "${holder.mountPoint}" by process ${holder.pid} since ${holder.since}`;
  return new BusyError(`Cannot ${doing} "${vmName}": ${who}`, {
    hint:
      holder === undefined || isCleaner(holder)
        ? "Try again in a minute"
        : `vmmount umount ${JSON.stringify(holder.mountPoint)}`,
  });
}

/** Whoever lists sessions holds a shared lock for the blink of an eye. */
const PROBE_WAIT_MS = 20;
const PROBE_WAITS_MAX = 100;

/**
 * Takes the lock of a journal file for as long as its descriptor is open: the sign that the session has a process.
 * @throws BusyError when another process has it, NotFoundError when the session ended meanwhile
 */
export async function holdJournal(fd: number): Promise<void> {
  for (let waits = 0; !tryLock(fd); waits++) {
    if (waits >= PROBE_WAITS_MAX) {
      throw new BusyError("Cannot take over the session: another process works on it", {
        retryable: true,
        hint: "It is being mounted or cleaned up: try again in a minute",
      });
    }
    await delay(PROBE_WAIT_MS);
  }
  // Whoever had it may have ended the session and erased its journal: the descriptor leads nowhere.
  if (fstatSync(fd).nlink === 0) throw new NotFoundError("Cannot take over the session: it has just ended");
}
