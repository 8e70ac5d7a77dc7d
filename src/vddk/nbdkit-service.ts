import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm, stat } from "node:fs/promises";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { setTimeout as delay } from "node:timers/promises";
import type { BlockSource } from "../block-source.js";
import { DiskIoError, MissingCapabilityError, UnreachableError, type VmmountError } from "../errors.js";
import type { Logger } from "../log.js";
import { NbdSource } from "../nbd/nbd-source.js";
import { printable } from "../printable.js";
import type { DiskRequest } from "./host-protocol.js";
import type { OpenOptions, VddkHost, VddkServiceOptions } from "./vddk-service.js";

/** nbdkit loads the library before it listens; a large one takes seconds. */
const START_MS_MAX = 30_000;
const START_POLL_MS = 20;
/** Closing the disk and leaving the server. */
const END_MS_MAX = 20_000;
const CONNECT_MS_MAX = 120_000;
/** The library wants one handle for each disk, and nbdkit opens one for each connection. */
const CONNECTIONS = 1;
const LINE_CHARACTERS_MAX = 2_000;
/** Starts of a disk's nbdkit after it died; each is a login, and a server locks accounts with many that fail. */
const RESTARTS_MAX = 5;
/** Before the first of them, doubled for each further one. */
const RESTART_DELAY_MS = 500;
/** The password's pipe. */
const PASSWORD_FD = 3;
/** As virt-v2v has it: larger requests are refused by some hosts. */
const SPLIT = ["--filter=blocksize", "minblock=512", "maxdata=2M"] as const;

/** An installed "nbdkit vddk" in place of our own host: one process for each disk. */
export class NbdkitService implements VddkHost {
  readonly #options: VddkServiceOptions;
  readonly #folder: string;
  readonly #disks: NbdkitDisk[] = [];

  private constructor(options: VddkServiceOptions, folder: string) {
    this.#options = options;
    this.#folder = folder;
  }

  /** @throws MissingCapabilityError without nbdkit or its plugin */
  static async start(options: VddkServiceOptions): Promise<NbdkitService> {
    await mustHavePlugin();
    return new NbdkitService(options, await mkdtemp(join(options.runtimeDir, "nbdkit-")));
  }

  /** nbdkit has no way to ask for it. */
  access(): Promise<void> {
    return Promise.reject(new MissingCapabilityError("nbdkit cannot keep vCenter from moving the disks"));
  }

  async open(request: DiskRequest, { signal }: OpenOptions): Promise<{ source: BlockSource; links: undefined }> {
    const socket = join(this.#folder, `${this.#disks.length}`);
    const disk = new NbdkitDisk(this.#options, request, socket);
    this.#disks.push(disk);
    try {
      await disk.start(signal);
      const target = { address: { kind: "unix" as const, path: socket }, exportName: "", tls: undefined };
      const { stallMs, allocation } = this.#options;
      const holes = allocation === "off" ? ("not asked for" as const) : ("asked of the server" as const);
      const options = { connectMs: CONNECT_MS_MAX, stallMs, connectionsMax: CONNECTIONS, holes };
      const source = await NbdSource.open(target, options, signal).catch((error: unknown) => {
        throw disk.failure(error);
      });
      try {
        disk.checkMode();
      } catch (error) {
        await source[Symbol.asyncDispose]();
        throw error;
      }
      return { source, links: undefined };
    } catch (error) {
      await disk.end();
      throw error;
    }
  }

  async closeDisks(): Promise<void> {
    await Promise.all(this.#disks.splice(0).map((disk) => disk.end()));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.closeDisks();
    await rm(this.#folder, { recursive: true, force: true });
  }
}

async function mustHavePlugin(): Promise<void> {
  const hint =
    "Leave vddk.host out: vmmount has a host of its own. Debian's nbdkit has no VDDK plugin; it would have to be built from nbdkit's source";
  const child = spawn("nbdkit", ["vddk", "--dump-plugin"], { stdio: "ignore" });
  const ended = await once(child, "close").catch(() => undefined);
  if (ended === undefined) throw new MissingCapabilityError("Cannot use nbdkit: it is not installed", { hint });
  if (ended[0] !== 0) throw new MissingCapabilityError("Cannot use nbdkit: it has no VDDK plugin", { hint });
}

/** One nbdkit, started again when it dies. */
class NbdkitDisk {
  readonly #options: VddkServiceOptions;
  readonly #request: DiskRequest;
  readonly #socket: string;
  #child: ChildProcess | undefined;
  readonly #ending = new AbortController();
  #restarts = 0;
  #mode: string | undefined;
  /** The last line that says "error". */
  #lastError = "";

  constructor(options: VddkServiceOptions, request: DiskRequest, socket: string) {
    this.#options = options;
    this.#request = request;
    this.#socket = socket;
  }

  /** @throws UnreachableError */
  async start(signal: AbortSignal): Promise<void> {
    const { library, login, configFile, logger } = this.#options;
    const { path, mode, snapshot } = this.#request;
    // One that is aborted must not leave the password in a file: 1 byte also keeps a core from being piped to a program (core(5)).
    const child = spawn(
      "prlimit",
      [
        ...[
          "--core=1:1",
          "nbdkit",
          "--foreground",
          "--exit-with-parent",
          "--readonly",
          "--verbose",
          "--unix",
          this.#socket,
          SPLIT[0],
          "vddk",
        ],
        ...[`libdir=${library.root}`, `server=${login.host}`, `port=${login.port}`, `user=${login.user}`],
        ...[`password=-${PASSWORD_FD}`, `thumbprint=${login.thumbprint}`, `vm=moref=${login.vm}`],
        ...[`transports=${mode}`, `file=${path}`, ...SPLIT.slice(1)],
        ...(snapshot === undefined ? [] : [`snapshot=${snapshot}`]),
        ...(configFile === undefined ? [] : [`config=${configFile}`]),
      ],
      { cwd: "/", stdio: ["ignore", "ignore", "pipe", "pipe"] },
    );
    this.#child = child;
    child.on("error", (error) => {
      this.#lastError = error.message;
    });
    this.#readLog(child, logger);
    const password = child.stdio[PASSWORD_FD] as NodeJS.WritableStream;
    // One that dies at once does not read it.
    password.on("error", () => undefined);
    password.end(login.password);
    for (const end = performance.now() + START_MS_MAX; !(await isSocket(this.#socket));) {
      signal.throwIfAborted();
      if (child.exitCode !== null || child.signalCode !== null) throw this.failure(undefined);
      if (performance.now() > end) {
        child.kill("SIGKILL");
        throw new UnreachableError(`nbdkit does not listen within ${START_MS_MAX / 1000} s`);
      }
      await delay(START_POLL_MS);
    }
    const onExit = (): void => {
      if (this.#isEnding()) return;
      logger.error(`nbdkit ended (${child.signalCode ?? `exit code ${child.exitCode ?? "?"}`}); starting it again`);
      void this.#startAgain();
    };
    // Not before: one that does not come up is its starter's affair.
    if (child.exitCode === null && child.signalCode === null) child.once("exit", onExit);
    else onExit();
  }

  /** @throws MissingCapabilityError when the library took another mode than the one that was asked for */
  checkMode(): void {
    const { path, mode } = this.#request;
    if (this.#mode === mode || this.#mode === undefined) return;
    throw new MissingCapabilityError(`Cannot open "${path}" over ${mode}: the library took ${this.#mode} instead`);
  }

  /** What nbdkit said, with what we saw. */
  failure(cause: unknown): VmmountError {
    const { path, mode } = this.#request;
    const said = this.#lastError === "" ? "it does not say why" : this.#lastError;
    return new DiskIoError(`Cannot open "${path}" over ${mode} through nbdkit: ${said}`, { cause });
  }

  async end(): Promise<void> {
    this.#ending.abort();
    const child = this.#child;
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
    const closed = once(child, "exit");
    child.kill("SIGTERM");
    const timer = setTimeout(() => child.kill("SIGKILL"), END_MS_MAX);
    await closed;
    clearTimeout(timer);
  }

  #isEnding(): boolean {
    return this.#ending.signal.aborted;
  }

  async #startAgain(): Promise<void> {
    const { logger } = this.#options;
    while (this.#restarts < RESTARTS_MAX) {
      const waitMs = RESTART_DELAY_MS * 2 ** this.#restarts++;
      await delay(waitMs, undefined, { signal: this.#ending.signal }).catch(() => undefined);
      await rm(this.#socket, { force: true });
      if (this.#isEnding()) return;
      try {
        await this.start(this.#ending.signal);
        return;
      } catch (error) {
        if (this.#isEnding()) return;
        logger.error(`Cannot start nbdkit again: ${(error as Error).message}`);
      }
    }
    logger.error(`nbdkit ended more than ${RESTARTS_MAX} times: giving up`);
  }

  #readLog(child: ChildProcess, logger: Logger): void {
    if (child.stderr === null) return;
    createInterface({ input: child.stderr }).on("line", (line) => {
      const text = printable(line.trim()).slice(0, LINE_CHARACTERS_MAX);
      this.#mode = /transport mode: (\w+)/.exec(text)?.[1] ?? this.#mode;
      const error = /^nbdkit: (?:vddk\S*: )?error: (.*)/.exec(text)?.[1];
      if (error !== undefined) this.#lastError = error;
      logger[error === undefined ? "trace" : "warn"](`nbdkit: ${text}`);
    });
  }
}

async function isSocket(path: string): Promise<boolean> {
  return (await stat(path).catch(() => undefined))?.isSocket() === true;
}
