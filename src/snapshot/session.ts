import { deadline } from "../deadline.js";
import { errorChain, LeftoverError, QuiesceError, RefusedError, SnapshotError, UnreachableError } from "../errors.js";
import type { Hypervisor, Progress, Snapshot, VmDescription } from "../hypervisor.js";
import type { Logger } from "../log.js";
import { retry, type RetryOptions, type RetryPolicy } from "../retry.js";
import { serverRetries } from "../server-retry.js";
import { consolidated } from "./consolidation.js";
import type { SnapshotPolicy } from "../settings.js";
import type { Journal } from "./journal.js";
import type { JournalEvent } from "./journal-record.js";
import { describeOwnership, isOfSession, type Ownership, snapshotName } from "./ownership.js";
import { type Consistency, planQuiesce, type QuiescePolicy, type SnapshotKind } from "./quiesce.js";
import { chooseUsedSnapshot, isStillThat, journaledUse, tellMoved } from "./used-snapshot.js";
import { snapshotsWherever } from "./vm-snapshots.js";

export interface SessionOptions {
  readonly id: string;
  readonly vm: VmDescription;
  readonly hypervisor: Hypervisor;
  readonly journal: Journal;
  readonly logger: Logger;
  readonly ownership: Omit<Ownership, "tool" | "session">;
  readonly policy: SnapshotPolicy;
  /** Which snapshot manual and deleteonly use; empty: see chooseUsedSnapshot. */
  readonly use: string;
  readonly quiesce: QuiescePolicy;
  readonly kind: SnapshotKind;
  readonly retry: RetryPolicy;
  readonly createTimeoutMs: number;
  readonly quiesceTimeoutMs: number;
  readonly removeTimeoutMs: number;
  readonly onProgress: (progress: Progress) => void;
}

export type SessionState =
  | { readonly name: "planned" }
  | { readonly name: "creating" }
  | { readonly name: "created"; readonly snapshot: Snapshot; readonly consistency: Consistency }
  /** One that somebody else made. */
  | { readonly name: "using"; readonly snapshot: Snapshot }
  | { readonly name: "removed" }
  /** It stays, as the policy says. */
  | { readonly name: "kept" }
  | { readonly name: "leftover"; readonly reason: string };

/** A guest that failed to freeze gets one more chance: a busy moment passes, a broken script does not. */
const QUIESCE_ATTEMPTS = 2;
/** Of the time for a snapshot, what quiescing may take at most: the rest is for one without it. */
const QUIESCE_SHARE = 2 / 3;

/**
 * One run from "create snapshot" to "snapshot removed", or as much of it as the policy says. Every step that changes the server is journaled: the intent
 * before, the outcome after, so that whatever kills this process, a later one knows what may exist.
 */
export class SnapshotSession {
  readonly #options: SessionOptions;
  #state: SessionState = { name: "planned" };
  #wasServed = false;
  #isDisowned = false;

  constructor(options: SessionOptions) {
    this.#options = options;
  }

  get state(): SessionState {
    return this.#state;
  }

  /**
   * The snapshot to show: a new one, or the one that the policy says to use.
   * @throws what `create` throws; NotFoundError or AmbiguousError when there is not exactly one to use
   */
  async obtain(signal: AbortSignal): Promise<{ snapshot: Snapshot; consistency: Consistency }> {
    const { policy, vm, hypervisor, use, journal } = this.#options;
    if (policy === "automatic" || policy === "createonly") return this.create(signal);
    const list = (): Promise<Snapshot[]> => hypervisor.listSnapshots(vm.identity.ref, { signal });
    const all = await retry(list, this.#retrying("Listing the snapshots", signal));
    const snapshot = chooseUsedSnapshot(vm.identity.name, all, use);
    await journal.append({ event: "using", ...journaledUse(snapshot) });
    this.#state = { name: "using", snapshot };
    // Nobody remembers in what state the VM was then.
    return { snapshot, consistency: snapshot.quiesced ? "quiesced" : "crash" };
  }

  /** The mount can be read: from here on the policy decides what stays. */
  async served(disks: number): Promise<void> {
    await this.#options.journal.append({ event: "serving", disks });
    this.#wasServed = true;
  }

  /** Somebody removed the snapshot, and the server has given its id to another one: an id alone proves nothing any more. */
  disown(): void {
    this.#isDisowned = true;
  }

  /** Whether `remove` will remove a snapshot. */
  get removesSnapshot(): boolean {
    const { policy } = this.#options;
    if (this.#state.name === "created") return policy === "automatic" || !this.#wasServed;
    return this.#state.name === "using" && policy === "deleteonly" && this.#wasServed;
  }

  /**
   * Creates the session's snapshot under the quiesce policy.
   * @throws QuiesceError, SnapshotError; LeftoverError when the server may have created it and cannot be asked
   */
  async create(signal: AbortSignal): Promise<{ snapshot: Snapshot; consistency: Consistency }> {
    const { vm, journal, kind } = this.#options;
    const plan = planQuiesce(this.#options.quiesce, vm, kind);
    if (plan.ask === "refuse") {
      throw new QuiesceError(`Cannot quiesce "${vm.identity.name}": ${plan.reason}`, {
        hint: `Start the guest tools, or take a crash-consistent snapshot with --quiesce off`,
      });
    }
    const { createTimeoutMs } = this.#options;
    const bounded = AbortSignal.any([
      signal,
      deadline(
        createTimeoutMs,
        () =>
          new SnapshotError(
            `Cannot create a snapshot of "${vm.identity.name}": it took longer than ${createTimeoutMs / 1000} s`,
            {
              hint: "Look at the VM's tasks; snapshot.timeout sets the limit",
            },
          ),
      ),
    ]);
    bounded.throwIfAborted();
    // Without the intent on disk nothing is created: a crash would leave a snapshot that nobody looks for.
    await journal.append({ event: "creating", quiesce: plan.ask === "quiesced" });
    this.#state = { name: "creating" };
    try {
      const created =
        plan.ask === "quiesced"
          ? await this.#createQuiesced(plan.onFailure, bounded)
          : { snapshot: await this.#createOnce(false, bounded), consistency: plan.consistency };
      if (plan.ask === "plain" && plan.warning !== undefined) this.#warnCrash(plan.warning);
      this.#state = { name: "created", ...created };
      await journal.append({ event: "created", snapshot: created.snapshot.ref, consistency: created.consistency });
      return created;
    } catch (error) {
      await this.#afterFailedCreate(error);
      throw error;
    }
  }

  async #createQuiesced(
    onFailure: "fail" | "crash",
    signal: AbortSignal,
  ): Promise<{ snapshot: Snapshot; consistency: Consistency }> {
    for (let attempt = 1; ; attempt++) {
      const tooLong = this.#quiesceDeadline();
      try {
        const snapshot = await this.#createOnce(true, AbortSignal.any([signal, tooLong]));
        return { snapshot, consistency: "quiesced" };
      } catch (error) {
        if (!(error instanceof QuiesceError)) throw error;
        // A guest that hangs once hangs twice.
        if (attempt < QUIESCE_ATTEMPTS && !tooLong.aborted) {
          this.#options.logger.warn(`${error.message}; trying once more`);
          continue;
        }
        if (onFailure === "fail") throw error;
        const late = tooLong.aborted ? await this.#madeAfterAll(signal) : undefined;
        if (late !== undefined) return { snapshot: late, consistency: late.quiesced ? "quiesced" : "crash" };
        this.#warnCrash(errorChain(error));
        return { snapshot: await this.#createOnce(false, signal), consistency: "crash" };
      }
    }
  }

  /** A task that nobody could cancel may end well after all; another one beside it would be refused. */
  async #madeAfterAll(signal: AbortSignal): Promise<Snapshot | undefined> {
    const { hypervisor, vm, onProgress } = this.#options;
    const settled = (): Promise<void> => hypervisor.settleSnapshots(vm.identity.ref, { signal, onProgress });
    await retry(settled, this.#retrying("Waiting for the cancelled snapshot task", signal));
    return (await this.#find(signal))[0];
  }

  #quiesceDeadline(): AbortSignal {
    const { vm, quiesceTimeoutMs, createTimeoutMs } = this.#options;
    const limitMs = Math.min(quiesceTimeoutMs, createTimeoutMs * QUIESCE_SHARE);
    return deadline(
      limitMs,
      () =>
        new QuiesceError(
          `Cannot quiesce the guest of "${vm.identity.name}": it took longer than ${Math.round(limitMs / 100) / 10} s, and the server was asked to cancel the snapshot`,
          {
            hint: "Look at the freeze scripts in the guest: it may still be frozen. snapshot.quiesce_timeout sets the limit",
          },
        ),
    );
  }

  #warnCrash(reason: string): void {
    this.#options.logger.warn(
      `The snapshot of "${this.#options.vm.identity.name}" is crash-consistent, like a disk after a power cut: ${reason}`,
    );
  }

  async #createOnce(quiesce: boolean, signal: AbortSignal): Promise<Snapshot> {
    const { hypervisor, vm, id, ownership, onProgress, kind } = this.#options;
    const isOn = vm.identity.powerState === "on";
    const spec = {
      name: snapshotName(id),
      description: describeOwnership({ ...ownership, session: id }),
      quiesce,
      ...(isOn && kind === "memory" && { memory: true }),
      ...(isOn && kind === "offline" && { offline: true }),
    };
    return retry(
      async (attempt) => {
        // The answer to an earlier attempt may have been lost after the server acted.
        const [existing] = attempt === 0 ? [] : await this.#find(signal);
        return existing ?? hypervisor.createSnapshot(vm.identity.ref, spec, { signal, onProgress });
      },
      // A quiesce failure has its own rule above.
      {
        ...this.#retrying("Creating the snapshot", signal),
        isRetryable: (e) => e.retryable && !(e instanceof QuiesceError),
      },
    );
  }

  /** A failed create may still have left a snapshot: look, remove it, and only then call the session clean. */
  async #afterFailedCreate(error: unknown): Promise<void> {
    const reason = errorChain(error);
    const known = this.#state.name === "created" ? [this.#state.snapshot] : [];
    let removed = 0;
    try {
      // Its own deadline: the caller's signal may be what ended the create.
      const signal = this.#removeDeadline();
      // A task that nobody could cancel goes on: the snapshot would come after we have looked for it.
      const { hypervisor, vm, onProgress } = this.#options;
      const settled = (): Promise<void> => hypervisor.settleSnapshots(vm.identity.ref, { signal, onProgress });
      await retry(settled, this.#retrying("Waiting for the snapshot task", signal));
      removed = await this.#removeAll(known, signal);
    } catch (failure) {
      const what = known.length > 0 ? "it could not be removed" : "it is not known whether the snapshot was created";
      await this.#leaveOver(`After a failed create (${reason}) ${what}`, failure);
    }
    if (removed > 0) await this.#consolidate();
    this.#state = { name: "removed" };
    await this.#note({ event: "create-failed", reason });
  }

  /**
   * Removes the session's snapshot and waits until it is gone, or lets it stay where the policy says so. Does nothing
   * when there is none.
   * @throws LeftoverError when it remains, with the journal keeping it for a later run
   */
  async remove(): Promise<void> {
    const state = this.#state;
    if (state.name !== "created" && state.name !== "using") return;
    if (!this.removesSnapshot) {
      this.#state = { name: "kept" };
      await this.#note({ event: "kept" });
      return;
    }
    const { snapshot } = state;
    const signal = this.#removeDeadline();
    try {
      const known = this.#isDisowned ? [] : [snapshot];
      await (state.name === "created" ? this.#removeAll(known, signal) : this.#removeUsed(snapshot, signal));
    } catch (error) {
      await this.#leaveOver(`Snapshot "${snapshot.name}" (${snapshot.ref}) could not be removed`, error);
    }
    await this.#consolidate();
    this.#state = { name: "removed" };
    await this.#note({ event: "removed" });
  }

  /** To the user, delta files that stay and grow are a snapshot left behind, although the server lists none. */
  async #consolidate(): Promise<void> {
    const { hypervisor, vm, onProgress } = this.#options;
    // Somebody else's trouble, and older than this session.
    if (vm.consolidationNeeded) return;
    const signal = this.#removeDeadline();
    try {
      const once = (): Promise<void> => consolidated(vm.identity, hypervisor, { signal, onProgress });
      await retry(once, this.#retrying("Consolidating the disks", signal));
    } catch (error) {
      await this.#leaveOver("the snapshot is removed, but the server has not merged its delta files", error);
    }
  }

  /** Somebody else made it and may have replaced it meanwhile: an id alone proves nothing. */
  async #removeUsed(used: Snapshot, signal: AbortSignal): Promise<void> {
    const { hypervisor, vm } = this.#options;
    const found = await retry(
      () => snapshotsWherever(vm.identity, hypervisor, signal),
      this.#retrying("Listing the snapshots", signal),
    );
    const snapshot = found.find(({ ref }) => ref === used.ref);
    if (snapshot === undefined) {
      const moved = tellMoved(found, journaledUse(used));
      if (moved !== undefined) throw new RefusedError(moved);
      return;
    }
    if (!isStillThat(snapshot, journaledUse(used))) {
      throw new RefusedError(`It is another one now, "${snapshot.name}"`);
    }
    await this.#removeOne(snapshot, signal);
  }

  /** Removes what is known, then what else carries the session's mark: a create whose answer was lost may end late. */
  async #removeAll(known: readonly Snapshot[], signal: AbortSignal): Promise<number> {
    for (const snapshot of known) await this.#removeOne(snapshot, signal);
    const others = await retry(() => this.#find(signal), this.#retrying("Listing the snapshots", signal));
    for (const snapshot of others) await this.#removeOne(snapshot, signal);
    return known.length + others.length;
  }

  async #removeOne(snapshot: Snapshot, signal: AbortSignal): Promise<void> {
    const { hypervisor, onProgress } = this.#options;
    await this.#note({ event: "removing", snapshot: snapshot.ref });
    await retry(
      () => hypervisor.removeSnapshot(snapshot.ref, { signal, onProgress }),
      this.#retrying("Removing the snapshot", signal),
    );
  }

  /**
   * Journals a step on the way down. A full journal disk must not keep the snapshot alive: what is on disk already
   * makes a later run look for it, and removing what is gone is harmless.
   */
  async #note(event: JournalEvent): Promise<void> {
    await this.#options.journal.append(event).catch((error: unknown) => {
      this.#options.logger.warn(`Cannot write the journal: ${errorChain(error)}`);
    });
  }

  /** The session's snapshots as the server shows them; none when nothing is left of the VM. */
  async #find(signal: AbortSignal): Promise<Snapshot[]> {
    const { hypervisor, vm, id } = this.#options;
    const all = await snapshotsWherever(vm.identity, hypervisor, signal);
    return all.filter((snapshot) => isOfSession(snapshot, id));
  }

  async #leaveOver(what: string, cause: unknown): Promise<never> {
    const { vm, id } = this.#options;
    const reason = errorChain(cause);
    this.#state = { name: "leftover", reason };
    await this.#note({ event: "leftover", reason });
    throw new LeftoverError(`Cannot clean up after the mount of "${vm.identity.name}": ${what}: ${reason}`, {
      cause,
      hint: `When the server answers again, run "vmmount umount ${id}" or "vmmount gc"; the session stays in the journal until then`,
    });
  }

  #removeDeadline(): AbortSignal {
    const { removeTimeoutMs } = this.#options;
    return deadline(
      removeTimeoutMs,
      () => new UnreachableError(`Removing the snapshot took longer than ${removeTimeoutMs / 1000} s`),
    );
  }

  #retrying(what: string, signal: AbortSignal): RetryOptions {
    return serverRetries(what, { policy: this.#options.retry, logger: this.#options.logger, signal });
  }
}
