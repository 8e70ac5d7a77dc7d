import { CleanupStack } from "../cleanup.js";
import { Secret } from "../credentials.js";
import { BusyError, DiskIoError, errorChain, LeftoverError } from "../errors.js";
import type { MountEnd, Mounted } from "../fs/fuse-driver.js";
import type { Hypervisor, VmIdentity } from "../hypervisor.js";
import type { Logger } from "../log.js";
import type { FileJournal } from "../snapshot/journal.js";
import { type LockHolder, VmLock, vmLockKey } from "../snapshot/lock.js";
import type { SnapshotSession } from "../snapshot/session.js";
import { BlockStack } from "./block-stack.js";
import { login } from "./connection.js";
import type { SessionStatus } from "./control-protocol.js";
import { DiskTransports } from "./disk-transports.js";
import type { Frozen } from "./frozen.js";
import { busyMount } from "./holders.js";
import { checkMountPoint } from "./mount-point.js";
import { clearEarlier } from "./preexisting-snapshots.js";
import {
  askingOf,
  diskStatuses,
  freeze,
  lookUp,
  type MountContext,
  newSnapshotSession,
  openAll,
  openJournal,
  refuseHopeless,
  type ShownDisk,
  showTree,
} from "./mount-steps.js";
import type { MountedSession } from "./mounted-session.js";
import { placeOf, readyToFreeze } from "./ready-to-freeze.js";
import { eraseSession } from "./erase-session.js";
import { removeEmptyFolder } from "./made-folder.js";
import { betweenHooks } from "./snapshot-hooks.js";
import { SnapshotWatch } from "./snapshot-watch.js";
import { StatePaths } from "./state-paths.js";
import { waitForCleaners } from "./vm-turn.js";
import { wholeVm } from "./whole-vm.js";
import { writtenMeanwhile } from "./written-meanwhile.js";

/**
 * One mount from login to the removed snapshot, or without a snapshot where the server makes none; the composition root. `start` is all or nothing: what it made before a
 * failure is undone, last first. `finish` is the way down, whoever unmounted.
 */
export class MountSession implements MountedSession {
  readonly #context: MountContext;
  readonly #undo: CleanupStack;
  readonly #snapshots: SnapshotSession;
  readonly #journal: FileJournal;
  readonly #mounted: Mounted;
  readonly #stack: BlockStack;
  /** Undefined without a snapshot. */
  readonly #watch: SnapshotWatch | undefined;
  readonly #facts: Frozen;
  readonly #disks: readonly ShownDisk[];
  readonly #startedAt = new Date().toISOString();
  #state = "serving";
  #detaching: Promise<void> | undefined;

  private constructor(parts: {
    readonly context: MountContext;
    readonly undo: CleanupStack;
    readonly snapshots: SnapshotSession;
    readonly journal: FileJournal;
    readonly mounted: Mounted;
    readonly stack: BlockStack;
    readonly watch: SnapshotWatch | undefined;
    readonly facts: Frozen;
    readonly disks: readonly ShownDisk[];
  }) {
    this.#context = parts.context;
    this.#undo = parts.undo;
    this.#snapshots = parts.snapshots;
    this.#journal = parts.journal;
    this.#mounted = parts.mounted;
    this.#stack = parts.stack;
    this.#watch = parts.watch;
    this.#facts = parts.facts;
    this.#disks = parts.disks;
  }

  /**
   * Login, lock, snapshot, disks, tree, mount.
   * @throws the failure itself, or LeftoverError when undoing it failed too
   */
  static async start(context: MountContext): Promise<MountSession> {
    const undo = new CleanupStack();
    try {
      return await MountSession.#build(context, undo);
    } catch (error) {
      const failure = await disposeAll(undo);
      if (failure !== undefined) context.logger.error(errorChain(failure));
      // What stays behind outweighs why the mount failed, and the message tells both.
      const left = leftoverIn(failure) ?? leftoverIn(error);
      if (left === undefined || left === error) throw error;
      throw new LeftoverError(`${errorChain(error)}. ${left.message}`, { cause: left, hint: left.hint });
    }
  }

  static async #build(context: MountContext, undo: CleanupStack): Promise<MountSession> {
    const { request, logger, signal } = context;
    const paths = new StatePaths(request.settings);
    if (request.madeMountPoint) undo.add("remove the folder", () => removeEmptyFolder(request.mountPoint));
    const lockHolder = holderOf(request);
    undo.use("release the mount point", await VmLock.takeMountPoint(paths.locks, lockHolder));
    await checkMountPoint(request.mountPoint);
    const connection = { ...request.connection, password: new Secret(request.connection.password) };
    const hypervisor = undo.use("log out", await login(connection, askingOf(context)));
    const vm = await lookUp(hypervisor, context);
    const { identity } = vm;
    refuseHopeless(vm, request.settings["snapshot.policy"]);
    undo.use("release the VM", await lockVm(identity, paths, context));
    await clearEarlier({ vm: identity, hypervisor, connection, paths }, context);
    const { settings, session } = request;
    const { program, onProgress } = context;
    const parts = { hypervisor, connection, settings, session, vm: identity.ref, logger, program, onProgress };
    const transports = undo.use("end the transports", await DiskTransports.choose(parts));
    const { accessIdentity, mayAttach } = transports;
    const { consolidationNeeded } = vm;
    const journal = await openJournal(
      context,
      paths,
      { ...identity, consolidationNeeded },
      {
        makes: hypervisor.snapshots,
        accessIdentity,
        mayAttach,
        place: placeOf(vm),
      },
    );
    const snapshots = newSnapshotSession(context, hypervisor, journal, vm);
    undo.add("close the journal", async () => {
      if (["planned", "removed", "kept"].includes(snapshots.state.name)) await eraseSession(paths, session, journal);
      await journal[Symbol.asyncDispose]();
    });
    undo.add("let vCenter move the disks again", () => transports.endAccess());
    await readyToFreeze(vm, hypervisor, context);
    await transports.prepareAccess(signal);
    undo.add("remove the snapshot", () => snapshots.remove());
    const hooked = { session, mountPoint: request.mountPoint, vm: identity, settings, journal, logger, onProgress };
    const create = (): Promise<Frozen> => freeze(hypervisor, snapshots, vm, context);
    const facts = await betweenHooks(hooked, hypervisor.snapshots, signal, create);
    undo.add("close the disks", () => transports.closeDisks());
    const stack = new BlockStack(request.settings, logger);
    logger.info(`Block stack: ${stack.describe()}`);
    const { configFiles, disks } = await openAll({ hypervisor, transports }, facts, stack, context, undo);
    const archives = await wholeVm({ hypervisor, facts, settings }, configFiles, disks);
    const mounted = await showTree({ context, hypervisor, facts, configFiles, archives, disks }, undo);
    const watch = watchSnapshot(facts, hypervisor, stack, logger);
    await snapshots.served(disks.length);
    logger.info(
      `Serving ${disks.length} disks of "${identity.name}" on "${request.mountPoint}" (${mounted.description})`,
    );
    return new MountSession({
      context,
      undo: undo.move(),
      snapshots,
      journal,
      mounted,
      stack,
      watch,
      facts,
      disks,
    });
  }

  get closed(): Promise<MountEnd> {
    return this.#mounted.closed;
  }

  get status(): SessionStatus {
    const { request } = this.#context;
    const { vm, snapshot, consistency } = this.#facts;
    const { name, path, ref, instanceUuid } = vm.identity;
    const { readBytes, readErrors, ...open } = this.#mounted.statistics;
    const { bytes: fetchedBytes, reads: fetches } = this.#stack.meter.reading;
    const { cachedBytes, prefetches, wasted } = this.#stack.cacheStatistics;
    const { target, bytesPerSecond, delayMs } = this.#stack.parallel;
    const degraded = this.#stack.firstFailure;
    return {
      session: request.session,
      state: this.#state,
      mountPoint: request.mountPoint,
      pid: process.pid,
      startedAt: this.#startedAt,
      server: { name: request.connection.name, url: request.connection.url },
      vm: { name, path, ref, ...(instanceUuid !== undefined && { instanceUuid }) },
      snapshot: {
        name: snapshot.name ?? null,
        ref: snapshot.ref ?? null,
        createdAt: snapshot.createdAt.toISOString(),
        consistency,
      },
      disks: diskStatuses(vm, this.#disks),
      driver: this.#mounted.description,
      traffic: {
        servedBytes: readBytes,
        fetchedBytes,
        fetches,
        cacheBytes: cachedBytes,
        errors: readErrors,
        passthroughFiles: open.passthroughFiles,
        openFiles: open.openFiles,
        readsInFlight: open.readsInFlight,
      },
      readAhead: {
        blocks: prefetches,
        wasted,
        parallel: target,
        bytesPerSecond: Math.round(bytesPerSecond),
        delayMs: Math.round(delayMs * 10) / 10,
      },
      ...(degraded !== undefined && { degraded }),
      log: new StatePaths(request.settings).log(request.session),
    };
  }

  async detach(options: { readonly force: boolean }): Promise<void> {
    if (this.#state !== "serving") return;
    if (options.force) {
      await this.#mounted.abandon();
      return;
    }
    // Two commands may ask at once: the second umount2(2) would find nothing and take that for a stranger's doing.
    this.#detaching ??= this.#unmount().finally(() => {
      this.#detaching = undefined;
    });
    await this.#detaching;
  }

  async #unmount(): Promise<void> {
    const { mountPoint } = this.#context.request;
    try {
      await this.#mounted.unmount();
    } catch (error) {
      if (!(error instanceof BusyError)) throw error;
      throw await busyMount(mountPoint, error);
    }
  }

  async finish(reason: string): Promise<string> {
    const { logger, request } = this.#context;
    const { consistency, vm } = this.#facts;
    const { name } = vm.identity;
    this.#state = "removing";
    const { name: snapshot } = this.#facts.snapshot;
    const next =
      snapshot === undefined
        ? "there is no snapshot to remove"
        : `${this.#snapshots.removesSnapshot ? "removing" : "keeping"} snapshot "${snapshot}"`;
    logger.info(`Unmounted "${request.mountPoint}" (${reason}); ${next}`);
    await this.#journal.append({ event: "unmounting", reason }).catch((error: unknown) => {
      logger.warn(`Cannot write the journal: ${errorChain(error)}`);
    });
    const degraded = this.#stack.firstFailure;
    const suffix = degraded === undefined ? "" : `; a reader had got an I/O error before (${degraded})`;
    await this.#watch?.look();
    await this.#watch?.stop();
    if (this.#watch?.isReplaced === true) this.#snapshots.disown();
    const written = await writtenMeanwhile({ disks: this.#disks, consistency, vmName: name, logger });
    const failure = await disposeAll(this.#undo);
    if (failure !== undefined) logger.error(errorChain(failure));
    const left = leftoverIn(failure);
    if (left !== undefined) {
      this.#state = "leftover";
      throw degraded === undefined
        ? left
        : new LeftoverError(`${left.message}${suffix}`, { cause: left, hint: left.hint });
    }
    // Anything else that failed is a logout or a close, which the server's time-out settles.
    this.#state = "removed";
    const isKept = this.#snapshots.state.name === "kept";
    if (snapshot !== undefined && !isKept) logger.info(`Removed the snapshot of "${name}"`);
    if (this.#watch?.isGone === true) {
      throw new DiskIoError(
        `The backup of "${name}" cannot be trusted: somebody else removed its snapshot while it was mounted`,
        { hint: "From then on the disks may have changed under the reader: mount the VM again and repeat the backup" },
      );
    }
    if (written !== undefined) {
      throw new DiskIoError(`The backup of "${name}" cannot be trusted: while it was mounted, ${written}`, {
        hint: "The VM was started, most likely: shut it down, mount it again and repeat the backup",
      });
    }
    if (degraded !== undefined) {
      throw new DiskIoError(`The backup of "${name}" is not complete: reading ${degraded}`, {
        hint: `Mount the VM again and repeat the backup${snapshot === undefined || isKept ? "" : "; the snapshot of this one is removed"}`,
      });
    }
    if (isKept) return `Unmounted "${request.mountPoint}" and kept snapshot "${snapshot ?? ""}" of "${name}"`;
    return snapshot === undefined
      ? `Unmounted "${request.mountPoint}"; there was no snapshot of "${name}"`
      : `Unmounted "${request.mountPoint}" and removed the snapshot of "${name}"`;
  }
}

/** Waits for whoever cleans up after an earlier mount of the VM. @throws BusyError while it is mounted */
function lockVm(
  { name, ref, instanceUuid }: VmIdentity,
  { locks }: StatePaths,
  { request, signal, onProgress }: MountContext,
): Promise<VmLock> {
  const patience = waitForCleaners(name, {
    signal,
    onProgress: (what, percent) => {
      onProgress({ what, percent });
    },
    cleanerMs: request.settings["snapshot.remove_timeout"],
  });
  const vm = vmLockKey({ ref, instanceUuid }, request.connection.url);
  return VmLock.take({ directory: locks, vm, vmName: name, holder: holderOf(request), patience });
}

function holderOf({ session, mountPoint }: MountContext["request"]): LockHolder {
  return { session, mountPoint, pid: process.pid, since: new Date().toISOString() };
}

/** Undefined when there is no snapshot to watch. */
function watchSnapshot(
  { vm, snapshot }: Frozen,
  hypervisor: Hypervisor,
  stack: BlockStack,
  logger: Logger,
): SnapshotWatch | undefined {
  const { ref, name = "", createdAt } = snapshot;
  if (ref === undefined) return undefined;
  const onGone = (): void => {
    stack.distrust("somebody else removed the snapshot");
  };
  const watched = { ref, name, createdAt };
  const watch = new SnapshotWatch({ hypervisor, vm: vm.identity.ref, snapshot: watched, logger, onGone });
  watch.start();
  return watch;
}

async function disposeAll(undo: CleanupStack): Promise<unknown> {
  try {
    await undo[Symbol.asyncDispose]();
    return undefined;
  } catch (error) {
    return error;
  }
}

function leftoverIn(failure: unknown): LeftoverError | undefined {
  const failures: unknown[] = failure instanceof AggregateError ? failure.errors : [failure];
  return failures.find((error) => error instanceof LeftoverError);
}
