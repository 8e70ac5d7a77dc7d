import { errorFacts, ConfigError, type ErrorFacts } from "../errors.js";
import { LOG_LEVEL_DEFAULT, LOG_LEVELS, type LogRecord, type SecretTexts } from "../log.js";
import { DaemonLog } from "../mount/daemon-log.js";
import { failureText } from "../failure-text.js";
import { printable } from "../printable.js";
import { logLine } from "./log-lines.js";
import type { Terminal } from "./output.js";

/**
 * Where the log lines of a command go: to stderr, and to a file when one is named. Then stderr keeps to steps, so that the job
 * log of a backup product stays readable at level 6.
 */
export class LogOutput {
  readonly #terminal: Terminal;
  readonly #level: number;
  readonly #secrets: SecretTexts;
  readonly #file: DaemonLog | undefined;

  /** @param path empty: no file @throws ConfigError when it cannot be opened */
  constructor(
    terminal: Terminal,
    { level, path, secrets }: { readonly level: number; readonly path: string; readonly secrets: SecretTexts },
  ) {
    this.#terminal = terminal;
    this.#level = level;
    this.#secrets = secrets;
    this.#file = path === "" ? undefined : opened(path);
  }

  /** One record as a line of JSON, of this process or of its daemon. */
  write(json: string): void {
    this.#file?.write(json);
    if (this.#file !== undefined && !isStep(json)) return;
    this.#terminal.err(this.#terminal.json ? json : logLine(json, this.#terminal));
  }

  /** The last sentence of a failed command. Level 0 leaves the exit code to speak, unless a program wants JSON. */
  fail(facts: ErrorFacts): void {
    const stripped = this.#secrets.strip(JSON.stringify(facts));
    this.#file?.write(`${printable(stripped)}\n`);
    if (this.#level === 0 && !this.#terminal.json) return;
    this.#terminal.err(failureText(JSON.parse(stripped) as ErrorFacts, this.#terminal.json ? "json" : "text"));
  }
}

function isStep(json: string): boolean {
  const { level } = JSON.parse(json) as LogRecord;
  return LOG_LEVELS.indexOf(level) <= LOG_LEVEL_DEFAULT;
}

function opened(path: string): DaemonLog {
  try {
    return new DaemonLog(path);
  } catch (cause) {
    throw new ConfigError(`Cannot write log file "${path}": ${errorFacts(cause).message}`, {
      cause,
      hint: "Name another one with --log-file, or set log.file",
    });
  }
}
