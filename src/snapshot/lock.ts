import { createHash } from "node:crypto";
import { fstatSync } from "node:fs";
import { type FileHandle, open, readFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { z } from "zod";
import { BusyError, NotFoundError } from "../errors.js";
import { tryLock } from "../libc.js";

const holderSchema = z.object({
  session: z.string(),
  mountPoint: z.string(),
  pid: z.number(),
  since: z.string(),
});
export type LockHolder = z.infer<typeof holderSchema>;

/**
 * One mount per VM: two backups of a VM at once would each remove what the other reads. The lock is flock(2), so it
 * ends with the process that holds it, however that ends.
 */
export class VmLock implements AsyncDisposable {
  readonly #file: FileHandle;

  private constructor(file: FileHandle) {
    this.#file = file;
  }

  /** @throws BusyError naming the holder's mount point, pid and start time */
  static async take(options: {
    readonly directory: string;
    /** Identifies the VM on every server: its instance UUID, or server and moref. */
    readonly vm: string;
    readonly vmName: string;
    readonly holder: LockHolder;
  }): Promise<VmLock> {
    const name = createHash("sha256").update(options.vm).digest("hex").slice(0, 32);
    const path = join(options.directory, `${name}.lock`);
    const file = await open(path, "a+", 0o600);
    try {
      if (!tryLock(file.fd)) throw await busy(path, options.vmName);
      await file.truncate(0);
      await file.appendFile(JSON.stringify(options.holder));
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

async function busy(path: string, vmName: string): Promise<BusyError> {
  const text = await readFile(path, "utf8").catch(() => "");
  let holder: LockHolder | undefined;
  try {
    holder = holderSchema.parse(JSON.parse(text));
  } catch {
    // The holder has the lock but has not written its line yet: the message does without it.
    holder = undefined;
  }
  const who =
    holder === undefined
      ? "another vmmount is mounting it"
      : `it is mounted on "${holder.mountPoint}" by process ${holder.pid} since ${holder.since}`;
  return new BusyError(`Cannot mount "${vmName}": ${who}`, {
    hint: holder === undefined ? "Try again in a minute" : `vmmount umount ${JSON.stringify(holder.mountPoint)}`,
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
    if (waits >= PROBE_WAITS_MAX) throw new BusyError("Cannot take over the session: another process works on it");
    await delay(PROBE_WAIT_MS);
  }
  // Whoever had it may have ended the session and erased its journal: the descriptor leads nowhere.
  if (fstatSync(fd).nlink === 0) throw new NotFoundError("Cannot take over the session: it has just ended");
}
