import { constants } from "node:os";
import { createInterface } from "node:readline/promises";
import { Writable } from "node:stream";
import type { Command } from "commander";
import { type Config, loadConfig } from "../config.js";
import { CancelledError, UsageError } from "../errors.js";
import { createLogger, type Logger, SecretTexts } from "../log.js";
import type { ServerChoice } from "../mount/connection.js";
import { StatePaths } from "../mount/state-paths.js";
import type { SettingKey } from "../settings.js";
import { logLine } from "./log-lines.js";
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
}

/** Options that every command takes; commander camel-cases the flags. */
export interface CommonOptions {
  readonly config?: string;
  readonly json?: boolean;
  readonly logLevel?: string;
  readonly quiet?: boolean;
  readonly verbose?: number;
  readonly server?: string;
  readonly user?: string;
  readonly passwordFile?: string;
  readonly passwordFd?: number;
  readonly caFile?: string;
  readonly fingerprint?: string;
  readonly insecure?: boolean;
}

export interface CommandContext {
  readonly config: Config;
  readonly paths: StatePaths;
  readonly choice: ServerChoice;
  readonly terminal: Terminal;
  readonly logger: Logger;
  readonly progress: ProgressLine;
  readonly program: string;
  readonly signal: AbortSignal;
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
  const level = levelFlag(options);
  const config = loadConfig({
    file: options.config,
    env: edge.env,
    flags: [...(level === undefined ? [] : [level]), ...flags.filter(({ value }) => value !== undefined)],
  });
  const terminal: Terminal = {
    out: edge.out,
    err: edge.err,
    isInteractive: edge.isInteractive,
    json: options.json === true,
  };
  const progress = new ProgressLine(terminal);
  const onLog = (json: string): void => {
    progress.stop();
    terminal.err(terminal.json ? json : logLine(json, terminal));
  };
  const secrets = new SecretTexts();
  const logger = createLogger({ level: config.settings["log.level"], secrets, write: onLog });
  return {
    config,
    paths: new StatePaths(config.settings),
    choice: serverChoice(edge, options, secrets),
    terminal,
    logger,
    progress,
    program: edge.program,
    signal: edge.signal,
    onLog,
  };
}

function levelFlag(options: CommonOptions): FlagSetting | undefined {
  const key = "log.level";
  if (options.logLevel !== undefined) return { key, value: options.logLevel, flag: "--log-level" };
  if (options.quiet === true) return { key, value: 1, flag: "--quiet" };
  // -v = 4 task progress, -vv = 5 API calls, -vvv = 6 wire dumps
  if (options.verbose !== undefined && options.verbose > 0)
    return { key, value: Math.min(3 + options.verbose, 6), flag: "--verbose" };
  return undefined;
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
  return {
    server: options.server,
    user: options.user ?? edge.env["VMMOUNT_USER"],
    caFile: options.caFile ?? edge.env["VMMOUNT_CA_FILE"],
    fingerprint: options.fingerprint ?? edge.env["VMMOUNT_FINGERPRINT"],
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

function descriptorNumber(text: string): number {
  if (/^\d{1,9}$/.test(text)) return Number(text);
  throw new UsageError(`Cannot use --password-fd "${text}": it is the number of an open descriptor`);
}

/** The options of all commands, with those for the server where one is asked. */
export function withCommonOptions(command: Command, asks: "a server" | "this host only"): Command {
  if (asks === "a server") {
    command
      .option("-s, --server <name|url>", "configured server, https://host[:port], or dir:///FOLDER of VMs")
      .option("-u, --user <name>", "user to log in as")
      .option("--password-file <file>", "file with the password in its first line, mode 0600")
      .option("--password-fd <n>", "read the password from this open descriptor", descriptorNumber)
      .option("--ca-file <file>", "PEM file of the CA that signed the server's certificate")
      .option("--fingerprint <hex>", "accept exactly the certificate with this SHA-256 fingerprint")
      .option("--insecure", "do not verify the server's certificate (warns)");
  }
  return command
    .option("-c, --config <file>", "read this configuration file instead of the usual ones")
    .option("--json", "answer with one JSON object on stdout; logs and errors are JSON on stderr")
    .option("-L, --log-level <0..6>", "0 nothing, 1 errors, 2 warnings, 3 steps, 4 progress, 5 calls, 6 wire")
    .option("-q, --quiet", "errors only (-L 1)")
    .option("-v, --verbose", "more: -v = -L 4, -vv = -L 5, -vvv = -L 6", (_value, count: number) => count + 1, 0);
}
