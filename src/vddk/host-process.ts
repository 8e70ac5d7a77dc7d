import { type ChildProcess, spawn } from "node:child_process";
import { createInterface } from "node:readline";
import { errorChain, MissingCapabilityError, RemoteError, UnreachableError, type VmmountError } from "../errors.js";
import { type Logger, SecretTexts } from "../log.js";
import { printable } from "../printable.js";
import type { VddkLogin } from "./connection-params.js";
import type { DiskRequest, FromHost, HostFailure, HostRequest, OpenedVddkDisk, ToHost } from "./host-protocol.js";
import type { SharedMemory } from "./shared-memory.js";
import { rememberVixCode } from "./vix-error.js";

/** Loading some dozen libraries and connecting; a host that is silent for longer hangs. */
const ANSWER_MS_MAX = 120_000;
/**
 * How often a host that is asked nothing else must show that it lives. Reads of one that is stopped, or hangs in a call of the library's,
 * fail by their own limit, but only its end makes room for another one.
 */
const ALIVE_EVERY_MS = 60_000;
/** Closing disks and leaving the server; a host that takes longer is killed. */
const END_MS_MAX = 20_000;
/** For what is left in the pipes of a dead host; what the library had started may hold them open for ever. */
const LAST_WORDS_MS_MAX = 1_000;
/** A line of the library's log; it may hold a whole XML answer. */
const LINE_CHARACTERS_MAX = 2_000;

/** What the library says at each start and what nobody can do anything about. */
const NOISE = [/Get CEIP status failed/i, /VDDK_PhoneHome/i];

type Answer = Exclude<FromHost, { readonly type: "note" | "reopened" }>;

export interface HostProcessParts {
  /** What the data of reads goes through. */
  readonly memory: SharedMemory | undefined;
  /** A folder that makeLibraryPath has made. */
  readonly libraryPath: string;
  readonly logger: Logger;
  /** Shorter in tests. */
  readonly limits?: { readonly aliveEveryMs: number; readonly answerMs: number };
}

/** The process that has VMware's library in it; one question at a time. */
export class HostProcess {
  /** Resolves when it is no process any more. */
  readonly ended: Promise<{ readonly reason: string }>;
  /** Told when a disk that was lost was opened again, or was not, with the login of that turn. */
  onReopened: ((turn: number, failure: VmmountError | undefined) => void) | undefined;
  readonly #child: ChildProcess;
  readonly #logger: Logger;
  readonly #answerMs: number;
  readonly #alive: NodeJS.Timeout;
  #waiting: { readonly resolve: (answer: Answer) => void; readonly reject: (error: Error) => void } | undefined;
  #line: Promise<unknown> = Promise.resolve();
  /** The last words on stderr: of a panic, the reason. */
  #lastWords = "";
  #isOver = false;
  #turn = 0;
  /** What the library says may name them. */
  readonly #secrets = new SecretTexts();

  private constructor(child: ChildProcess, { logger, limits }: HostProcessParts) {
    this.#child = child;
    this.#logger = logger;
    this.#answerMs = limits?.answerMs ?? ANSWER_MS_MAX;
    this.#alive = setInterval(() => {
      if (this.#waiting !== undefined) return;
      this.#ask({ type: "alive" }).catch((error: unknown) => {
        if (this.#isOver) return;
        this.#lastWords = errorChain(error);
        this.kill();
      });
    }, limits?.aliveEveryMs ?? ALIVE_EVERY_MS).unref();
    child.on("message", (message) => {
      this.#heard(message as FromHost);
    });
    this.#logLines();
    this.ended = new Promise((resolve) => {
      child.on("error", (error) => {
        this.#over(`it could not be started: ${error.message}`, resolve);
      });
      const onEnd = (code: number | null, by: NodeJS.Signals | null): void => {
        const how = by === null ? `exit code ${code ?? "?"}` : `signal ${by}`;
        this.#over(this.#lastWords === "" ? how : `${how}, "${this.#lastWords}"`, resolve);
      };
      child.once("exit", (...how) => {
        const timer = setTimeout(onEnd, LAST_WORDS_MS_MAX, ...how);
        child.once("close", () => {
          clearTimeout(timer);
        });
      });
      child.once("close", onEnd);
    });
  }

  /** @param program the one that runs as the host when its first argument is "vddk-host": this one */
  static start(program: string, { socket }: HostRequest, parts: HostProcessParts): HostProcess {
    const { memory, libraryPath } = parts;
    const { LD_LIBRARY_PATH: before } = process.env;
    // The socket is for people who look at the process table.
    const child = spawn(process.execPath, [...process.execArgv, program, "vddk-host", socket], {
      cwd: "/",
      // The last one is MEMORY_FD.
      stdio: ["ignore", "pipe", "pipe", "ipc", memory?.fd ?? "ignore"],
      // Read by the dynamic linker when a process starts, and only then.
      env: {
        ...process.env,
        LD_LIBRARY_PATH: before === undefined || before === "" ? libraryPath : `${libraryPath}:${before}`,
      },
    });
    return new HostProcess(child, parts);
  }

  get pid(): number | undefined {
    return this.#child.pid;
  }

  /** Of the login that what is asked from now on uses. */
  get turn(): number {
    return this.#turn;
  }

  get isRunning(): boolean {
    return !this.#isOver;
  }

  /** @returns the transport modes that the library knows @throws VmmountError */
  async begin(request: HostRequest, signal?: AbortSignal): Promise<string> {
    this.#keepSecret(request.login);
    const answer = await this.#killedBy(signal, this.#ask({ type: "begin", request }));
    return answer.type === "ready" ? answer.modes : "";
  }

  /** @throws VmmountError */
  async open(disk: DiskRequest, signal: AbortSignal): Promise<OpenedVddkDisk> {
    const answer = await this.#killedBy(signal, this.#ask({ type: "open", disk }));
    if (answer.type !== "opened") throw new MissingCapabilityError("the VDDK host answers something else");
    return answer.disk;
  }

  /** @throws VmmountError */
  async access(what: "prepare" | "end", identity: string, signal?: AbortSignal): Promise<void> {
    await this.#killedBy(signal, this.#ask({ type: "access", what, identity }));
  }

  /** For connections from now on. @throws VmmountError */
  async logInWith(login: VddkLogin): Promise<void> {
    this.#keepSecret(login);
    await this.#ask({ type: "login", login });
  }

  #keepSecret({ turn, secret }: VddkLogin): void {
    this.#turn = turn;
    this.#secrets.add(secret.kind === "session" ? secret.cookie : secret.password);
  }

  /** Removes what processes that died have left attached to this machine. @throws VmmountError */
  async cleanUp(): Promise<void> {
    await this.#ask({ type: "clean" });
  }

  /** Closes every disk; none can be opened any more. */
  async close(): Promise<void> {
    await this.#ask({ type: "close" });
  }

  /** Closes every disk and ends; kills a host that does not. */
  async end(): Promise<void> {
    if (this.#isOver) return;
    const timer = setTimeout(() => {
      this.kill();
    }, END_MS_MAX);
    clearInterval(this.#alive);
    await this.#ask({ type: "end" }).catch(() => undefined);
    await this.ended;
    clearTimeout(timer);
  }

  kill(): void {
    this.#child.kill("SIGKILL");
  }

  /** A library that hangs cannot be asked to stop. @throws the reason of the signal, at once */
  async #killedBy(signal: AbortSignal | undefined, asked: Promise<Answer>): Promise<Answer> {
    if (signal === undefined) return await asked;
    const onAbort = (): void => {
      this.#lastWords = "nobody waited for it any more";
      this.kill();
    };
    signal.addEventListener("abort", onAbort, { once: true });
    if (signal.aborted) onAbort();
    try {
      return await asked;
    } catch (error) {
      signal.throwIfAborted();
      throw error;
    } finally {
      signal.removeEventListener("abort", onAbort);
    }
  }

  async #ask(message: ToHost): Promise<Answer> {
    const asked = this.#line.then(() => this.#askNow(message));
    this.#line = asked.catch(() => undefined);
    return await asked;
  }

  async #askNow(message: ToHost): Promise<Answer> {
    if (this.#isOver) throw new UnreachableError("the VDDK host has ended");
    const timer = setTimeout(() => {
      this.#lastWords = `no answer to "${message.type}" within ${this.#answerMs / 1000} s`;
      this.kill();
    }, this.#answerMs);
    try {
      const answer = await new Promise<Answer>((resolve, reject) => {
        this.#waiting = { resolve, reject };
        this.#child.send(message, (error) => {
          if (error !== null) reject(new UnreachableError(`Cannot reach the VDDK host: ${error.message}`));
        });
      });
      if (answer.type === "failed") throw failureOf(answer);
      return answer;
    } finally {
      clearTimeout(timer);
      this.#waiting = undefined;
    }
  }

  #heard(message: FromHost): void {
    if (message.type === "note") this.#logger[message.level](message.text);
    else if (message.type === "reopened")
      this.onReopened?.(message.turn, message.failure && failureOf(message.failure));
    else this.#waiting?.resolve(message);
  }

  #over(reason: string, resolve: (value: { readonly reason: string }) => void): void {
    this.#isOver = true;
    clearInterval(this.#alive);
    const error: VmmountError = new UnreachableError(`The VDDK host ended: ${reason}`);
    this.#waiting?.reject(error);
    resolve({ reason });
  }

  #logLines(): void {
    const { stdout, stderr } = this.#child;
    const level = (text: string, usual: "debug" | "warn"): "debug" | "warn" =>
      NOISE.some((noise) => noise.test(text)) ? "debug" : usual;
    if (stdout !== null) {
      createInterface({ input: stdout }).on("line", (line) => {
        const text = this.#shown(line);
        if (text !== "") this.#logger[level(text, "debug")](`VDDK: ${text}`);
      });
    }
    if (stderr !== null) {
      createInterface({ input: stderr }).on("line", (line) => {
        // vwarnx(3) puts the program's name in front.
        const text = this.#shown(line.replace(/^[^\s:]+: /, ""));
        if (text === "") return;
        const told = level(text, "warn");
        if (told === "warn") this.#lastWords = text;
        this.#logger[told](`VDDK: ${text}`);
      });
    }
  }

  #shown(line: string): string {
    return printable(this.#secrets.strip(line.trim())).slice(0, LINE_CHARACTERS_MAX);
  }
}

function failureOf({ error: facts, vix }: HostFailure): VmmountError {
  const error = new RemoteError(facts);
  if (vix !== undefined) rememberVixCode(error, vix);
  return error;
}
