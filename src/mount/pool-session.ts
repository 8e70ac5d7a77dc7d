import { CleanupStack } from "../cleanup.js";
import { Secret } from "../credentials.js";
import { BusyError, DiskIoError, errorChain } from "../errors.js";
import type { MountEnd, Mounted } from "../fs/fuse-driver.js";
import { poolTree } from "../fs/pool-tree.js";
import { type PoolSource, poolSourcePath } from "../pool-source.js";
import { VmLock } from "../snapshot/lock.js";
import type { SessionStatus } from "./control-protocol.js";
import { fetchPoolSource, type FetchedPoolSource } from "./fetch-pool-source.js";
import { busyMount } from "./holders.js";
import { removeEmptyFolder } from "./made-folder.js";
import { memoryShares } from "./memory-shares.js";
import { checkMountPoint } from "./mount-point.js";
import { mountSource } from "./mount-source.js";
import { type MountContext, openJournal } from "./mount-steps.js";
import type { MountedSession } from "./mounted-session.js";
import { eraseSession } from "./erase-session.js";
import { StatePaths } from "./state-paths.js";

/** The mount of a pool source: files that were fetched before it became ready. There is no snapshot and no server to leave. */
export class PoolSession implements MountedSession {
  readonly #context: MountContext;
  readonly #undo: CleanupStack;
  readonly #mounted: Mounted;
  readonly #path: string;
  readonly #fetched: FetchedPoolSource;
  readonly #startedAt = new Date().toISOString();
  #state = "serving";
  #detaching: Promise<void> | undefined;

  private constructor(
    context: MountContext,
    parts: {
      readonly undo: CleanupStack;
      readonly mounted: Mounted;
      readonly path: string;
      readonly fetched: FetchedPoolSource;
    },
  ) {
    this.#context = context;
    this.#undo = parts.undo;
    this.#mounted = parts.mounted;
    this.#path = parts.path;
    this.#fetched = parts.fetched;
  }

  /** @throws the failure, after undoing what was made */
  static async start(source: PoolSource, context: MountContext): Promise<PoolSession> {
    await using undo = new CleanupStack();
    const { request, logger, signal, onProgress } = context;
    const { settings, session, mountPoint } = request;
    const paths = new StatePaths(settings);
    const holder = { session, mountPoint, pid: process.pid, since: new Date().toISOString() };
    if (request.madeMountPoint) undo.add("remove the folder", () => removeEmptyFolder(mountPoint));
    undo.use("release the mount point", await VmLock.takeMountPoint(paths.locks, holder));
    await checkMountPoint(mountPoint);
    const path = poolSourcePath(source);
    const subject = { ref: path, instanceUuid: undefined, name: path.slice(1), path };
    const nothing = { makes: "none", accessIdentity: undefined, mayAttach: false } as const;
    const journal = await openJournal(context, paths, subject, nothing);
    undo.add("close the journal", async () => {
      await eraseSession(paths, session, journal);
      await journal[Symbol.asyncDispose]();
    });
    const connection = { ...request.connection, password: new Secret(request.connection.password) };
    const spoolDirectory = settings["cache.dir"];
    const fetched = await fetchPoolSource({ connection, source, spoolDirectory, logger, signal, onProgress });
    undo.use("close the files", fetched);
    const sources = new Map(fetched.files.map((file) => [file.path, file.source]));
    const { "mount.uid": uid, "mount.gid": gid, "mount.cache_size": cacheSize } = settings;
    const mounted = await context.driver.mount(poolTree({ catalog: fetched.catalog, sources, uid, gid }), mountPoint, {
      source: mountSource(session),
      // Whoever may enter finds files that only their owner can read.
      allowOther: settings["mount.allow_other"],
      replyBytesMax: memoryShares(cacheSize).replyBytes,
      uid: process.geteuid?.() ?? 0,
      gid: process.getegid?.() ?? 0,
    });
    undo.use("detach the mount", mounted);
    await journal.append({ event: "serving", disks: 0 });
    logger.info(`Serving ${fetched.files.length} files of ${path} on "${mountPoint}" (${mounted.description})`);
    return new PoolSession(context, { undo: undo.move(), mounted, path, fetched });
  }

  get closed(): Promise<MountEnd> {
    return this.#mounted.closed;
  }

  get status(): SessionStatus {
    const { request } = this.#context;
    const { catalog } = this.#fetched;
    const { readBytes, readErrors, passthroughFiles, openFiles, readsInFlight } = this.#mounted.statistics;
    return {
      session: request.session,
      state: this.#state,
      mountPoint: request.mountPoint,
      pid: process.pid,
      startedAt: this.#startedAt,
      server: { name: request.connection.name, url: request.connection.url },
      vm: { name: this.#path.slice(1), path: this.#path, ref: this.#path },
      snapshot: { name: null, ref: null, createdAt: catalog.createdAt, consistency: "as fetched" },
      disks: [],
      files: catalog.files.map(({ file, about, bytes }) => ({ file, about, bytes })),
      driver: this.#mounted.description,
      traffic: {
        servedBytes: readBytes,
        fetchedBytes: catalog.files.reduce((sum, { bytes }) => sum + bytes, 0),
        fetches: catalog.files.length,
        cacheBytes: 0,
        errors: readErrors,
        passthroughFiles,
        openFiles,
        readsInFlight,
      },
      log: new StatePaths(request.settings).log(request.session),
    };
  }

  async detach({ force }: { readonly force: boolean }): Promise<void> {
    if (this.#state !== "serving") return;
    if (force) {
      await this.#mounted.abandon();
      return;
    }
    this.#detaching ??= this.#unmount().finally(() => {
      this.#detaching = undefined;
    });
    await this.#detaching;
  }

  async #unmount(): Promise<void> {
    try {
      await this.#mounted.unmount();
    } catch (error) {
      if (!(error instanceof BusyError)) throw error;
      throw await busyMount(this.#context.request.mountPoint, error);
    }
  }

  async finish(reason: string): Promise<string> {
    const { logger, request } = this.#context;
    this.#state = "removing";
    logger.info(`Unmounted "${request.mountPoint}" (${reason})`);
    const { readErrors } = this.#mounted.statistics;
    try {
      await this.#undo[Symbol.asyncDispose]();
    } catch (error) {
      // Locks and files of ours: they go with this process.
      logger.error(errorChain(error));
    }
    this.#state = "removed";
    if (readErrors > 0) {
      throw new DiskIoError(`The backup of ${this.#path} is not complete: ${readErrors} reads failed`, {
        hint: "The disk that holds cache.dir has trouble: mount again and repeat the backup",
      });
    }
    return `Unmounted "${request.mountPoint}"; what was fetched of ${this.#path} is deleted here`;
  }
}
