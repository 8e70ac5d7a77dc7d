import { closeSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import type { BlockSource } from "../block-source.js";
import { errorChain } from "../errors.js";
import type { Logger } from "../log.js";
import type { NbdTarget } from "../nbd/address.js";
import { NbdSink } from "../nbd/nbd-sink.js";
import { NbdSource } from "../nbd/nbd-source.js";
import { SharedPayloads } from "../nbd/shared-payloads.js";
import { retry, type RetryPolicy } from "../retry.js";
import { loggedCalls } from "./call-log.js";
import type { VddkLibrary } from "./find-library.js";
import { type DiskRequest, type HostRequest, type OpenedVddkDisk, REQUEST_BYTES_MAX } from "./host-protocol.js";
import { HostProcess } from "./host-process.js";
import { HotaddLock } from "./hotadd-lock.js";
import { LibraryLogin, type PasswordLogin, type SessionCookie } from "./library-login.js";
import { makeLibraryPath } from "./library-path.js";
import { requestBuffersOf } from "./request-buffers.js";
import { type SharedMemory, sharedMemoryIfAny } from "./shared-memory.js";

/** Other jobs of the host take minutes: it is asked for more this long after it had no memory left. */
const RISE_AFTER_MS = 60_000;
/** In the folder of the socket. */
const LIBRARY_PATH = "lib";
/** To our own host: one carries all requests of a disk, and no data. */
const CONNECTIONS = 1;
/**
 * What reads under way may take of the memory that this process and its host have in common: as many as a mount has in parallel
 * (mount.parallel_reads), each as large as the host takes them. What finds no place goes through the socket.
 */
const SHARED_SLOTS = 16;
const SHARED_BYTES = SHARED_SLOTS * REQUEST_BYTES_MAX;
/** To a process of this machine; while it starts again, nobody listens, which is told at once. */
const CONNECT_MS_MAX = 10_000;
/** Starts after a crash, within the time below: a library that dies at once will go on dying. */
const RESTARTS_MAX = 5;
const RESTARTS_WITHIN_MS = 10 * 60_000;
/** Before the first start after a crash, doubled for each further one: the host must notice that its sessions are gone. */
const RESTART_DELAY_MS = 500;
/** A host that serves many disks refuses further ones for a while. */
const OPENING: RetryPolicy = { retriesMax: 4, delayMs: 1_000, delayMsMax: 8_000 };
/** Where another transport could be tried: a line that failed for a moment need not decide for the whole mount. */
const OPENING_RETRIES_OF_MANY = 1;
/** The transport whose disks stay attached to this machine when its user dies. */
const ATTACHING = "hotadd";
/** Of one question to the library: by the session, by another one, by the password. */
const LOGINS_MAX = 3;

export interface VddkServiceOptions {
  readonly library: VddkLibrary;
  readonly configFile: string | undefined;
  readonly login: PasswordLogin;
  /** Of a login that the server knows already: used in place of the password where that works. */
  readonly sessionCookie?: SessionCookie | undefined;
  /** That only this user may enter; its path is short, for a unix socket. */
  readonly runtimeDir: string;
  /** The program to start as the host: this one. */
  readonly program: string;
  readonly logger: Logger;
  readonly stallMs: number;
  readonly allocation: "auto" | "off";
  readonly firstRetryMs?: number;
  readonly riseAfterMs?: number;
}

export interface OpenOptions {
  readonly signal: AbortSignal;
  /** A transport that is refused is asked for again for a while only when there is no other. */
  readonly otherwise: "another transport" | "nothing";
}

interface StartedParts {
  readonly folder: string;
  readonly login: LibraryLogin;
  readonly request: HostRequest;
  readonly memory: SharedMemory | undefined;
  readonly process: HostProcess;
}

/** Whatever has VMware's library in it and shows the disks of one VM. */
export interface VddkHost extends AsyncDisposable {
  /**
   * PrepareForAccess before the snapshot is made, EndAccess after it is gone: vCenter does not move the VM's disks meanwhile.
   * @throws VmmountError; the reason of the signal
   */
  access(what: "prepare" | "end", identity: string, signal?: AbortSignal): Promise<void>;

  /**
   * Opens a disk over exactly this mode.
   * @throws VmmountError of the library, such as MissingCapabilityError when the mode cannot be used; the reason of the signal
   */
  open(request: DiskRequest, options: OpenOptions): Promise<{ source: BlockSource; links: number | undefined }>;

  /** Before the snapshot is removed: the library holds its files open. */
  closeDisks(): Promise<void>;
}

/**
 * The disks of one VM through VMware's library, in a process of its own that is started again when it dies: readers then wait a
 * little longer and notice nothing else.
 */
export class VddkService implements VddkHost {
  readonly #options: VddkServiceOptions;
  readonly #request: HostRequest;
  readonly #login: LibraryLogin;
  readonly #folder: string;
  readonly #memory: SharedMemory | undefined;
  readonly #shared: SharedPayloads | undefined;
  /** Those that a new host opens again. */
  readonly #disks: DiskRequest[] = [];
  /** Disks are, or were, open for writing. */
  #isWriting = false;
  /** A process that ends now may leave disks attached to this machine, whether they were read or written. */
  #mayAttach = false;
  readonly #crashes: number[] = [];
  #process: HostProcess;
  /** What is waited for was given up by its user: a host that was killed for it is not started again. */
  #isAbandoned = false;
  #hotadd: Promise<HotaddLock> | undefined;
  /** After a crash, until a process serves again or it is given up. */
  #restarting: Promise<boolean> | undefined;
  readonly #ending = new AbortController();
  readonly #watching: Promise<void>;

  private constructor(options: VddkServiceOptions, { folder, login, request, memory, process }: StartedParts) {
    this.#options = options;
    this.#login = login;
    login.onChange = () => this.#process.logInWith(login.current);
    this.#folder = folder;
    this.#request = request;
    this.#memory = memory;
    this.#shared = memory === undefined ? undefined : new SharedPayloads(memory.bytes, REQUEST_BYTES_MAX);
    this.#process = this.#listened(process);
    this.#watching = this.#watch();
  }

  /**
   * Starts the library.
   * @throws MissingCapabilityError, UnreachableError; the reason of the signal
   */
  static async start(options: VddkServiceOptions, signal?: AbortSignal): Promise<VddkService> {
    const { library, configFile, logger } = options;
    const login = await LibraryLogin.begin(options.login, options.sessionCookie, logger, signal);
    const depth = await requestBuffersOf(configFile);
    const folder = await mkdtemp(join(options.runtimeDir, "vddk-"));
    const memory = sharedMemoryIfAny(SHARED_BYTES, logger);
    const request: HostRequest = {
      ...{ library, configFile, socket: join(folder, "nbd"), depth, disks: [], cleansUp: false },
      riseAfterMs: options.riseAfterMs ?? RISE_AFTER_MS,
      ...{ login: login.current, calls: loggedCalls(logger) },
      sharedBytes: memory?.bytes.length ?? 0,
    };
    let process: HostProcess | undefined;
    try {
      const libraryPath = join(folder, LIBRARY_PATH);
      await makeLibraryPath(library.lib64, libraryPath);
      process = HostProcess.start(options.program, request, { memory, libraryPath, logger });
      const modes = await process.begin(request, signal);
      logger.debug(`VDDK ${library.version} of ${library.root}: transports ${modes}`, { pid: process.pid });
      return new VddkService(options, { folder, login, request, memory, process });
    } catch (error) {
      process?.kill();
      await process?.ended;
      if (memory !== undefined) closeSync(memory.fd);
      await rm(folder, { recursive: true, force: true });
      throw error;
    }
  }

  /** Of the process that has the library, for tests and "status". */
  get pid(): number | undefined {
    return this.#process.pid;
  }

  async access(what: "prepare" | "end", identity: string, signal?: AbortSignal): Promise<void> {
    const isGivenUp = (await this.#restarting) === false;
    // vCenter would refuse to move the disks for ever: one more process, that opens none of them.
    if (isGivenUp && what === "end") await this.#startProcess([]);
    await this.#unlessAbandoned(signal, () =>
      this.#loggedIn(async (process, turn) => {
        await process.access(what, identity, signal);
        this.#login.noteSuccess(turn);
      }),
    );
  }

  async open(request: DiskRequest, options: OpenOptions): Promise<{ source: BlockSource; links: number }> {
    const opened = await this.#open(request, options);
    const source = await this.#source(request, options.signal);
    // Not before: a new host that cannot open it, as this one could not serve it, would serve none.
    this.#disks.push(request);
    return { source, links: opened.links };
  }

  /**
   * Opens a disk of a VM that is switched off, to be written over exactly this mode. A host that dies is started again without it:
   * what was written since the last flush may be lost, so its writer must hear of it, and open it once more.
   * @param options.signal of the whole sink
   * @throws VmmountError as `open`
   */
  async openForWriting(
    request: DiskRequest & { readonly access: "read-write" },
    options: OpenOptions,
  ): Promise<NbdSink> {
    await this.#open(request, options);
    this.#isWriting = true;
    const { stallMs } = this.#options;
    return await NbdSink.open(this.#target(request), { connectMs: CONNECT_MS_MAX, stallMs }, options.signal);
  }

  async #open(request: DiskRequest, { signal, otherwise }: OpenOptions): Promise<OpenedVddkDisk> {
    const { logger, firstRetryMs } = this.#options;
    const openNow = async (): Promise<OpenedVddkDisk> => {
      await this.#restarting;
      const open = async (process: HostProcess, turn: number): Promise<OpenedVddkDisk> => {
        const opened = await process.open(request, signal);
        this.#login.noteSuccess(turn);
        return opened;
      };
      return await this.#unlessAbandoned(signal, () => this.#loggedIn(open));
    };
    if (request.mode === ATTACHING) {
      await this.cleanUp();
      this.#mayAttach = true;
    }
    return await retry(openNow, {
      policy: {
        ...OPENING,
        ...(otherwise === "another transport" && { retriesMax: OPENING_RETRIES_OF_MANY }),
        ...(firstRetryMs !== undefined && { delayMs: firstRetryMs }),
      },
      signal,
      onRetry: (error, attempt, waitMs) => {
        logger.warn(`${error.message}; attempt ${attempt + 1} in ${Math.round(waitMs)} ms`);
      },
    });
  }

  async #source(request: DiskRequest, signal: AbortSignal): Promise<NbdSource> {
    const { stallMs, allocation } = this.#options;
    const holes = allocation === "off" ? ("not asked for" as const) : ("asked of the server" as const);
    const options = { connectMs: CONNECT_MS_MAX, stallMs, connectionsMax: CONNECTIONS, holes, shared: this.#shared };
    return await NbdSource.open(this.#target(request), options, signal);
  }

  #target({ name }: DiskRequest): NbdTarget {
    return { address: { kind: "unix", path: this.#request.socket }, exportName: name, tls: undefined };
  }

  /** Once, before disks are attached to this machine: what processes that died had attached. */
  async cleanUp(): Promise<void> {
    const { runtimeDir, logger } = this.#options;
    this.#hotadd ??= HotaddLock.take(runtimeDir, () => this.#loggedIn((process) => process.cleanUp()), logger);
    try {
      await this.#hotadd;
    } catch (error) {
      this.#hotadd = undefined;
      throw error;
    }
  }

  /** Asks again with another login when the one that was used may be why it failed. */
  async #loggedIn<T>(ask: (process: HostProcess, turn: number) => Promise<T>): Promise<T> {
    for (let logins = 1; ; logins++) {
      const process = this.#process;
      const { turn } = process;
      try {
        return await ask(process, turn);
      } catch (error) {
        if (logins === LOGINS_MAX || !(await this.#login.moveOn(turn, error))) throw error;
      }
    }
  }

  #listened(process: HostProcess): HostProcess {
    process.onReopened = (turn, failure) => {
      if (failure === undefined) this.#login.noteSuccess(turn);
      // The read that noticed has failed; whoever repeats it has the disk opened with the other login.
      else void this.#login.moveOn(turn, failure);
    };
    return process;
  }

  async #unlessAbandoned<T>(signal: AbortSignal | undefined, ask: () => Promise<T>): Promise<T> {
    const onAbort = (): void => {
      this.#isAbandoned = true;
    };
    signal?.addEventListener("abort", onAbort, { once: true });
    try {
      return await ask();
    } finally {
      signal?.removeEventListener("abort", onAbort);
    }
  }

  async closeDisks(): Promise<void> {
    if (this.#disks.splice(0).length === 0 && !this.#isWriting) return;
    this.#isWriting = false;
    // One that is dead, or dies of it, has no disks open; the next one opens none.
    const process = this.#process;
    try {
      await process.close();
      this.#mayAttach = false;
    } catch (error) {
      if (process.isRunning) throw error;
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#isEnding()) return;
    this.#ending.abort();
    await this.#process.end();
    await this.#watching;
    // One that was started for EndAccess.
    await this.#process.end();
    if (this.#memory !== undefined) closeSync(this.#memory.fd);
    (await this.#hotadd?.catch(() => undefined))?.[Symbol.dispose]();
    await rm(this.#folder, { recursive: true, force: true });
  }

  #isEnding(): boolean {
    return this.#ending.signal.aborted;
  }

  async #watch(): Promise<void> {
    for (;;) {
      const { reason } = await this.#process.ended;
      this.#shared?.takeBack();
      if (this.#isEnding()) return;
      if (this.#isAbandoned) {
        this.#restarting = Promise.resolve(false);
        return;
      }
      this.#options.logger.error(`The VDDK host ended (${reason}); starting it again`);
      this.#restarting = this.#restart();
      if (!(await this.#restarting)) return;
      this.#restarting = undefined;
    }
  }

  /** @returns whether there is a process to watch again */
  async #restart(): Promise<boolean> {
    const { logger } = this.#options;
    const { signal } = this.#ending;
    for (;;) {
      const now = performance.now();
      this.#crashes.push(now);
      const recent = this.#crashes.filter((at) => now - at < RESTARTS_WITHIN_MS);
      if (recent.length > RESTARTS_MAX) {
        logger.error(`The VDDK host ended ${recent.length} times in ${RESTARTS_WITHIN_MS / 60_000} minutes: giving up`);
        return false;
      }
      await delay(RESTART_DELAY_MS * 2 ** (recent.length - 1), undefined, { signal }).catch(() => undefined);
      if (this.#isEnding()) return false;
      try {
        await this.#replaceProcess();
        if (this.#isEnding()) {
          await this.#process.end();
          return false;
        }
        logger.info(`The VDDK host serves ${this.#disks.length} disks again`, { pid: this.#process.pid });
        return true;
      } catch (error) {
        logger.error(`Cannot start the VDDK host again: ${errorChain(error)}`);
        await this.#login.moveOn(this.#process.turn, error);
        this.#process.kill();
        await this.#process.ended;
      }
    }
  }

  async #replaceProcess(): Promise<void> {
    // The dead one's disks are attached still, unless it had none.
    const start = () => this.#startProcess(this.#disks, { cleansUp: true });
    const isCleaned = this.#mayAttach && (await (await this.#hotadd)?.whenAlone(start)) === true;
    if (!isCleaned) await this.#startProcess(this.#disks);
    // What was written is opened again by its writer.
    else this.#mayAttach = this.#disks.some(({ mode }) => mode === ATTACHING);
  }

  async #startProcess(disks: readonly DiskRequest[], { cleansUp = false } = {}): Promise<void> {
    const { logger, program } = this.#options;
    // The old one did not live to remove it.
    await rm(this.#request.socket, { force: true });
    await this.#login.renewAfterCrash();
    const started = HostProcess.start(program, this.#request, {
      ...{ memory: this.#memory, libraryPath: join(this.#folder, LIBRARY_PATH), logger },
    });
    this.#process = this.#listened(started);
    await started.begin({ ...this.#request, login: this.#login.current, disks, cleansUp });
    if (disks.length > 0) this.#login.noteSuccess(started.turn);
  }
}
