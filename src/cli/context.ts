import { constants } from "node:os";
import { resolve } from "node:path";
import { createInterface } from "node:readline/promises";
import { Writable } from "node:stream";
import { type Config, loadConfig } from "../config.js";
import { CancelledError } from "../errors.js";
import { forbidCoreDumps } from "../libc.js";
import { createLogger, type Logger, SecretTexts } from "../log.js";
import type { ServerChoice } from "../mount/connection.js";
import { StatePaths } from "../mount/state-paths.js";
import { ProgressLog } from "../progress-log.js";
import type { SettingKey } from "../settings.js";
import type { CommonOptions } from "./common-options.js";
import { LogOutput } from "./log-output.js";
import type { Terminal } from "./output.js";
import { ProgressLine } from "./progress.js";

/** What main.ts knows of the process; everything below gets it from here. */
export interface ProcessEdge {
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly out: (text: string) => void;
  readonly err: (text: string) => void;
  readonly isInteractive: boolean;
  /** stdin is a terminal, so a password can be asked for. */
  readonly canPrompt: boolean;
  /** This program's path, to start the daemon with. */
  readonly program: string;
  /** Aborted with a CancelledError by SIGINT, SIGTERM or SIGHUP. */
  readonly signal: AbortSignal;
  /** Hears where a failure is to be told, once the configuration is known. */
  readonly onLogOutput?: (output: LogOutput) => void;
}

export interface CommandContext {
  readonly config: Config;
  readonly paths: StatePaths;
  readonly choice: ServerChoice;
  readonly terminal: Terminal;
  readonly logger: Logger;
  readonly progress: ProgressLine;
  readonly signal: AbortSignal;
  /** Draws progress, and logs it at level 4: for tasks of this process. A mount daemon logs its own. */
  readonly onProgress: (what: string, percent: number | undefined) => void;
  /** Shows a line of the daemon's log like one of ours. */
  readonly onLog: (json: string) => void;
}

export type FlagSetting = { readonly key: SettingKey; readonly value: unknown; readonly flag: string };

/** Reads the configuration and sets up the logger for one command. @throws ConfigError */
export function createContext(
  edge: ProcessEdge,
  options: CommonOptions,
  flags: readonly FlagSetting[] = [],
): CommandContext {
  // From here on there may be passwords in memory.
  forbidCoreDumps();
  const config = loadConfig({
    file: options.config,
    env: edge.env,
    flags: [...logFlags(options), ...flags].filter(({ value }) => value !== undefined),
  });
  const terminal: Terminal = {
    out: edge.out,
    err: edge.err,
    isInteractive: edge.isInteractive,
    json: options.json === true,
  };
  const progress = new ProgressLine(terminal);
  const secrets = new SecretTexts();
  const { "log.level": level, "log.file": path } = config.settings;
  const output = new LogOutput(terminal, { level, path, secrets });
  edge.onLogOutput?.(output);
  const onLog = (json: string): void => {
    progress.stop();
    output.write(json);
  };
  const logger = createLogger({ level, secrets, write: onLog });
  const progressLog = new ProgressLog(logger);
  return {
    config,
    paths: new StatePaths(config.settings),
    choice: serverChoice(edge, options, secrets),
    terminal,
    logger,
    progress,
    onProgress: (what, percent) => {
      progressLog.report(what, percent);
      progress.report(what, percent);
    },
    signal: edge.signal,
    onLog,
  };
}

function logFlags(options: CommonOptions): FlagSetting[] {
  const path = options.logFile;
  return [levelFlag(options), { key: "log.file", value: path && resolve(path), flag: "--log-file" }];
}

function levelFlag(options: CommonOptions): FlagSetting {
  const key = "log.level";
  if (options.logLevel !== undefined) return { key, value: options.logLevel, flag: "--log-level" };
  if (options.quiet === true) return { key, value: 1, flag: "--quiet" };
  // -v = 4 task progress, -vv = 5 API calls, -vvv = 6 wire dumps
  const count = options.verbose ?? 0;
  return { key, value: count === 0 ? undefined : Math.min(3 + count, 6), flag: "--verbose" };
}

/** Options that only a server with a login has a use for. */
const LOGIN_FLAGS = {
  user: "--user",
  passwordFile: "--password-file",
  passwordFd: "--password-fd",
  caFile: "--ca-file",
  fingerprint: "--fingerprint",
  insecure: "--insecure",
} as const satisfies Partial<Record<keyof CommonOptions, string>>;

function serverChoice(edge: ProcessEdge, options: CommonOptions, secrets: SecretTexts): ServerChoice {
  // As of every setting: an empty variable counts as unset.
  const [user, caFile, fingerprint] = ["VMMOUNT_USER", "VMMOUNT_CA_FILE", "VMMOUNT_FINGERPRINT"].map((name) =>
    edge.env[name] === "" ? undefined : edge.env[name],
  );
  return {
    server: options.server,
    user: options.user ?? user,
    caFile: options.caFile ?? caFile,
    fingerprint: options.fingerprint ?? fingerprint,
    insecure: options.insecure,
    loginFlags: Object.entries(LOGIN_FLAGS).flatMap(([key, flag]) =>
      options[key as keyof typeof LOGIN_FLAGS] === undefined ? [] : [flag],
    ),
    credential: {
      env: { ...edge.env, ...(options.user !== undefined && { VMMOUNT_USER: options.user }) },
      passwordFile: options.passwordFile,
      passwordFd: options.passwordFd,
      onPassword: (password) => {
        secrets.add(password);
      },
      prompt: edge.canPrompt ? promptPassword : undefined,
    },
  };
}

/** Asks on the terminal without echo. */
async function promptPassword(question: string): Promise<string> {
  process.stderr.write(question);
  const mute = new Writable({
    write: (_chunk, _encoding, done) => {
      done();
    },
  });
  const reader = createInterface({ input: process.stdin, output: mute, terminal: true });
  try {
    return await reader.question("");
  } catch (error) {
    if (!(error instanceof Error) || error.name !== "AbortError") throw error;
    // The terminal is raw while we read: Ctrl-C is a key and no signal.
    throw new CancelledError("Stopped at the question for the password", { signal: constants.signals.SIGINT });
  } finally {
    reader.close();
    process.stderr.write("\n");
  }
}
