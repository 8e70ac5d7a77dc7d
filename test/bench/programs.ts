import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { setTimeout as sleep } from "node:timers/promises";
import type { CleanupStack } from "../../src/cleanup.js";

/** What is kept of a program's stderr for its error message. */
const STDERR_CHARACTERS_MAX = 4_000;
/** After this a program that was told to end is killed. */
const STOP_MS_MAX = 5_000;

export interface Finished {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
  /** From its start to its end. */
  readonly seconds: number;
}

/** A server that runs beside the measurement. */
export class Program {
  readonly pid: number;
  readonly #child: ChildProcess;
  readonly #name: string;
  #stderr = "";

  private constructor(child: ChildProcess, pid: number, name: string) {
    this.#child = child;
    this.pid = pid;
    this.#name = name;
    child.stderr?.setEncoding("utf8").on("data", (text: string) => {
      this.#stderr = (this.#stderr + text).slice(-STDERR_CHARACTERS_MAX);
    });
  }

  /** Ended together with its owner at the latest. @throws Error when there is no such program */
  static async start(owner: Pick<CleanupStack, "add">, command: string, args: readonly string[]): Promise<Program> {
    // A group of its own: Ctrl-C reaches the benchmark, which unmounts before it ends the servers.
    const child = spawn(command, args, { stdio: ["ignore", "ignore", "pipe"], detached: true });
    await Promise.race([once(child, "spawn"), once(child, "error").then(([error]) => Promise.reject(error as Error))]);
    if (child.pid === undefined) throw new Error(`Cannot start ${command}`);
    const program = new Program(child, child.pid, command);
    owner.add(`end ${command}`, () => program.stop());
    return program;
  }

  /** Looks until `isReady`. @throws Error with its stderr when it ends before, or takes too long */
  async ready(isReady: () => Promise<boolean>, timeoutMs = 10_000): Promise<void> {
    for (const end = performance.now() + timeoutMs; !(await isReady());) {
      if (this.#hasEnded) throw new Error(`${this.#name} has ended: ${this.#stderr.trim()}`);
      if (performance.now() > end) throw new Error(`${this.#name} is not ready in time: ${this.#stderr.trim()}`);
      await sleep(20);
    }
  }

  async stop(): Promise<void> {
    if (this.#hasEnded) return;
    const closed = once(this.#child, "close");
    this.#child.kill("SIGTERM");
    const timer = setTimeout(() => this.#child.kill("SIGKILL"), STOP_MS_MAX);
    await closed;
    clearTimeout(timer);
  }

  get #hasEnded(): boolean {
    return this.#child.exitCode !== null || this.#child.signalCode !== null;
  }
}

export interface RunOptions {
  readonly signal: AbortSignal;
  /** SIGINT after this time: dd then says how far it came. */
  readonly limitMs?: number;
  readonly env?: Readonly<Record<string, string>>;
  readonly input?: string;
}

/** Runs a program to its end; an abort ends it. */
export async function runProgram(
  command: string,
  args: readonly string[],
  { signal, limitMs, env, input }: RunOptions,
): Promise<Finished> {
  signal.throwIfAborted();
  const began = performance.now();
  const child = spawn(command, args, { stdio: ["pipe", "pipe", "pipe"], env: { ...process.env, LC_ALL: "C", ...env } });
  const end = (): void => void child.kill("SIGTERM");
  signal.addEventListener("abort", end, { once: true });
  const timer = limitMs === undefined ? undefined : setTimeout(() => child.kill("SIGINT"), limitMs);
  let stdout = "";
  let stderr = "";
  child.stdout.setEncoding("utf8").on("data", (text: string) => (stdout += text));
  child.stderr.setEncoding("utf8").on("data", (text: string) => (stderr += text));
  // A program that ends without reading its input is judged by its exit code.
  child.stdin.on("error", () => undefined).end(input ?? "");
  try {
    const [code] = (await once(child, "close")) as [number | null];
    signal.throwIfAborted();
    return { code, stdout, stderr, seconds: (performance.now() - began) / 1000 };
  } finally {
    clearTimeout(timer);
    signal.removeEventListener("abort", end);
  }
}

/** @throws Error with its stderr when it fails */
export async function mustRun(command: string, args: readonly string[], options: RunOptions): Promise<Finished> {
  const finished = await runProgram(command, args, options);
  if (finished.code === 0) return finished;
  throw new Error(`${command} ended with ${finished.code ?? "a signal"}: ${finished.stderr.trim()}`);
}
