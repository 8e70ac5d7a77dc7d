import { deadline } from "../deadline.js";
import { errorChain, UnreachableError } from "../errors.js";
import type { Hypervisor, Snapshot } from "../hypervisor.js";
import type { Logger } from "../log.js";

/** One call a minute keeps the damage small and the server does not notice it. */
const LOOK_INTERVAL_MS = 60_000;
/** A server that does not answer by then has shown nothing. */
const LOOK_MS_MAX = 30_000;

export interface SnapshotWatchOptions {
  readonly hypervisor: Pick<Hypervisor, "listSnapshots">;
  readonly vm: string;
  readonly snapshot: Pick<Snapshot, "ref" | "name" | "createdAt">;
  readonly logger: Logger;
  /** Called once, when the snapshot is seen to be gone. */
  readonly onGone: () => void;
  readonly intervalMs?: number;
}

/**
 * Notices when somebody else removes the snapshot during the mount: the server then merges what the guest wrote into the
 * very files that we read, and while the VM is off nothing locks them.
 */
export class SnapshotWatch {
  readonly #options: SnapshotWatchOptions;
  #timer: NodeJS.Timeout | undefined;
  #looking: Promise<void> | undefined;
  #gone = false;
  #replaced = false;

  constructor(options: SnapshotWatchOptions) {
    this.#options = options;
  }

  /** It was seen to be gone. */
  get isGone(): boolean {
    return this.#gone;
  }

  /** Besides, the server has given its id to another one. */
  get isReplaced(): boolean {
    return this.#replaced;
  }

  /** Looks now and then, without keeping the process alive. */
  start(): void {
    this.#timer = setInterval(() => void this.look(), this.#options.intervalMs ?? LOOK_INTERVAL_MS).unref();
  }

  /** Never rejects. */
  look(): Promise<void> {
    this.#looking ??= this.#look().finally(() => {
      this.#looking = undefined;
    });
    return this.#looking;
  }

  async stop(): Promise<void> {
    clearInterval(this.#timer);
    await this.#looking;
  }

  async #look(): Promise<void> {
    const { hypervisor, vm, snapshot, logger, onGone } = this.#options;
    const signal = deadline(LOOK_MS_MAX, () => new UnreachableError("Listing the snapshots took too long"));
    try {
      const all = await hypervisor.listSnapshots(vm, { signal });
      const found = all.find(({ ref }) => ref === snapshot.ref);
      if (found !== undefined && isSame(found, snapshot)) return;
      this.#replaced = found !== undefined;
      if (this.#gone) return;
      this.#gone = true;
      onGone();
    } catch (error) {
      logger.warn(`Cannot see whether the snapshot is still there: ${errorChain(error)}`);
    }
  }
}

/** People rename snapshots, and nobody changes the time of one. */
function isSame(found: Snapshot, { name, createdAt }: SnapshotWatchOptions["snapshot"]): boolean {
  return found.name === name || found.createdAt.getTime() === createdAt.getTime();
}
