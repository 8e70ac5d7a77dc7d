import { type ChildProcess, spawn } from "node:child_process";
import type { Readable } from "node:stream";
import { setTimeout as delay } from "node:timers/promises";

/** Longer lines are cut: somebody's progress bar is no log. */
const LINE_CHARS_MAX = 2_000;
/** What a command says beyond this is not shown: it must not fill the disk with our log. */
const LINES_MAX = 1_000;
/** After SIGTERM a command may tidy up for so long. */
const TERM_WAIT_MS = 5_000;
const GROUP_POLL_MS = 20;
/** A child of the command may go on with its output open: nobody waits for that. */
const DRAIN_MS = 200;

export interface UserCommand {
  /** As the user wrote it; the shell reads it. Nothing from outside is ever pasted into it. */
  readonly command: string;
  /** What the shell knows as `$1` and so on. */
  readonly words: readonly string[];
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Undefined: it takes as long as it takes. */
  readonly timeoutMs: number | undefined;
  /** Aborted to end it. */
  readonly signal: AbortSignal;
  readonly onLine: (line: string) => void;
}

/**
 * Runs a command of the user through `sh -c`, in a process group of its own, with nothing on stdin and its output handed on
 * line by line.
 * @returns undefined when it succeeded, else why it did not, such as "ended with exit code 3"
 */
export async function runUserCommand(command: UserCommand): Promise<string | undefined> {
  const { signal, timeoutMs } = command;
  if (signal.aborted) return "was not begun";
  let child: ChildProcess;
  try {
    child = spawn("/bin/sh", ["-c", command.command, "vmmount", ...command.words], {
      detached: true,
      stdio: ["ignore", "pipe", "pipe"],
      env: commandEnvironment(command.env),
      cwd: "/",
    });
  } catch (error) {
    return `could not be started: ${(error as Error).message}`;
  }
  const lines = new BoundedLines(command.onLine);
  for (const stream of [child.stdout, child.stderr]) if (stream !== null) lines.follow(stream);
  let why: string | undefined;
  let killed: Promise<void> | undefined;
  let leave: () => void = () => undefined;
  const left = new Promise<undefined>((resolve) => {
    leave = () => {
      resolve(undefined);
    };
  });
  const stop = (reason: string): void => {
    why ??= reason;
    killed ??= endGroup(child).then((isEnded) => {
      if (isEnded) return;
      why = "did not end in time, runs as another user, and goes on";
      abandon(child);
      leave();
    });
  };
  const onAbort = (): void => {
    stop("was stopped");
  };
  signal.addEventListener("abort", onAbort, { once: true });
  const timer =
    timeoutMs === undefined
      ? undefined
      : setTimeout(() => {
          stop(`took longer than ${timeoutMs / 1000} s and was killed`);
        }, timeoutMs);
  try {
    const ended = await Promise.race([endOf(child), left]);
    await killed;
    return why ?? ended;
  } finally {
    clearTimeout(timer);
    signal.removeEventListener("abort", onAbort);
    lines.end();
  }
}

/** Resolves with why it failed, if it did; at the latest a moment after the process is gone, whoever holds its output. */
function endOf(child: ChildProcess): Promise<string | undefined> {
  return new Promise((resolve) => {
    child.once("error", (error) => {
      resolve(`could not be started: ${error.message}`);
    });
    child.once("exit", (code, by) => {
      const ended = code === 0 ? undefined : by === null ? `ended with exit code ${code ?? "?"}` : `was ended by ${by}`;
      const drained = setTimeout(() => {
        abandon(child);
        resolve(ended);
      }, DRAIN_MS);
      child.once("close", () => {
        clearTimeout(drained);
        resolve(ended);
      });
    });
  });
}

/**
 * Ends the command and all that it has begun: they may tidy up first, for a while.
 * @returns false when all that is left of it runs as another user (sudo), who takes no signal of ours
 */
async function endGroup({ pid, exitCode, signalCode }: ChildProcess): Promise<boolean> {
  // After its end the number of its group may be another's.
  if (pid === undefined || exitCode !== null || signalCode !== null) return true;
  let group = signalGroup(pid, "SIGTERM");
  for (const end = performance.now() + TERM_WAIT_MS; group !== "gone" && performance.now() < end;) {
    await delay(GROUP_POLL_MS);
    group = signalGroup(pid, 0);
  }
  return group === "gone" || signalGroup(pid, "SIGKILL") !== "not ours";
}

/** What the signal met: "not ours" when nobody of the group may be sent one. */
function signalGroup(pid: number, signal: NodeJS.Signals | 0): "told" | "gone" | "not ours" {
  try {
    process.kill(-pid, signal);
    return "told";
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === "ESRCH" ? "gone" : "not ours";
  }
}

function abandon(child: ChildProcess): void {
  child.stdout?.destroy();
  child.stderr?.destroy();
  child.unref();
}

/** Ours without what is for daemons alone, and without where passwords are; a value cannot hold a zero character. */
function commandEnvironment(own: UserCommand["env"]): NodeJS.ProcessEnv {
  const kept = Object.entries(process.env).filter(
    ([name]) => !name.startsWith("VMMOUNT_PASSWORD") && !["UV_THREADPOOL_SIZE", "CREDENTIALS_DIRECTORY"].includes(name),
  );
  const added = Object.entries(own).map(([name, value]) => [name, value?.replaceAll("\0", "")] as const);
  return Object.fromEntries([...kept, ...added.filter(([, value]) => value !== undefined)]);
}

class BoundedLines {
  readonly #onLine: (line: string) => void;
  readonly #rests = new Map<Readable, string>();
  #count = 0;

  constructor(onLine: (line: string) => void) {
    this.#onLine = onLine;
  }

  follow(stream: Readable): void {
    this.#rests.set(stream, "");
    stream.setEncoding("utf8").on("data", (text: string) => {
      const lines = `${this.#rests.get(stream) ?? ""}${text}`.split(/\r?\n|\r/);
      // A line without an end must not fill the memory.
      this.#rests.set(stream, (lines.pop() ?? "").slice(0, LINE_CHARS_MAX));
      for (const line of lines) this.#tell(line);
    });
  }

  /** What was not ended by a line break is a line too. */
  end(): void {
    for (const rest of this.#rests.values()) this.#tell(rest);
    this.#rests.clear();
  }

  #tell(line: string): void {
    if (line.trim() === "" || this.#count > LINES_MAX) return;
    this.#count++;
    this.#onLine(this.#count > LINES_MAX ? "… its further output is left out" : line.slice(0, LINE_CHARS_MAX));
  }
}
