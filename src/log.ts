import { pino } from "pino";
import { printable } from "./printable.js";

/**
 * Log levels as VMware Consolidated Backup counted them: 0 nothing, 1 errors, 2 + warnings, 3 + steps (default),
 * 4 + task progress, 5 + API calls, 6 + wire dumps without secrets.
 */
export const LOG_LEVELS = ["silent", "error", "warn", "info", "progress", "debug", "trace"] as const;
export type LogLevel = (typeof LOG_LEVELS)[number];
export const LOG_LEVEL_DEFAULT = 3;

export type LogFields = Readonly<Record<string, unknown>>;

export interface Logger {
  /** Somebody must act. */
  error(message: string, fields?: LogFields): void;
  /** Degraded but working. */
  warn(message: string, fields?: LogFields): void;
  /** A step of the main job: a handful per mount. */
  info(message: string, fields?: LogFields): void;
  /** Progress of a long task. */
  progress(message: string, fields?: LogFields): void;
  /** One call to a server. */
  debug(message: string, fields?: LogFields): void;
  /** One message on the wire, one FUSE request. */
  trace(message: string, fields?: LogFields): void;
  child(fields: LogFields): Logger;
  isEnabled(level: Exclude<LogLevel, "silent">): boolean;
}

export interface LogRecord {
  readonly level: Exclude<LogLevel, "silent">;
  readonly time: string;
  readonly msg: string;
  readonly [field: string]: unknown;
}

/** Field names whose values never reach a sink. */
const SECRET_FIELDS = ["password", "cookie", "ticket", "token", "authorization", "secret"];
const REDACTED = "[redacted]";

/**
 * Secret texts known to this process. Field redaction covers what we name; this covers what slips into a message, a
 * wire dump or a server's echo.
 */
export class SecretTexts {
  readonly #forms = new Set<string>();

  /** Shorter texts would black out half of every line. */
  static readonly CHARS_MIN = 3;

  add(secret: string): void {
    if (secret.length < SecretTexts.CHARS_MIN) return;
    const xml = secret.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");
    for (const form of [secret, xml, xml.replaceAll('"', "&quot;"), encodeURIComponent(secret)]) {
      this.#forms.add(form);
      this.#forms.add(JSON.stringify(form).slice(1, -1));
    }
    this.#forms.add(Buffer.from(secret).toString("base64"));
  }

  strip(text: string): string {
    let stripped = text;
    // Longest first: a form that contains another one goes as a whole.
    for (const form of [...this.#forms].sort((a, b) => b.length - a.length)) {
      stripped = stripped.replaceAll(form, REDACTED);
    }
    return stripped;
  }
}

export interface LoggerOptions {
  /** 0 to 6. */
  readonly level: number;
  /** Receives one record as a line of JSON with a final newline. */
  readonly write: (line: string) => void;
  readonly secrets: SecretTexts;
}

const PINO_LEVELS: Record<Exclude<LogLevel, "silent">, number> = {
  trace: 10,
  debug: 20,
  progress: 25,
  info: 30,
  warn: 40,
  error: 50,
};

export function createLogger(options: LoggerOptions): Logger {
  const level = LOG_LEVELS[Math.min(Math.max(options.level, 0), LOG_LEVELS.length - 1)] ?? "info";
  const root = pino(
    {
      level,
      customLevels: PINO_LEVELS,
      useOnlyCustomLevels: true,
      base: { pid: process.pid },
      timestamp: pino.stdTimeFunctions.isoTime,
      formatters: { level: (label) => ({ level: label }) },
      redact: { paths: SECRET_FIELDS.flatMap((field) => [field, `*.${field}`, `*.*.${field}`]), censor: REDACTED },
    },
    {
      write: (line: string) => {
        // JSON leaves alone what turns text around or clears a terminal; the escapes are JSON's own.
        options.write(`${printable(options.secrets.strip(line).trimEnd())}\n`);
      },
    },
  );
  return wrap(root);
}

type PinoLogger = ReturnType<typeof pino<Exclude<LogLevel, "silent">>>;

function wrap(inner: PinoLogger): Logger {
  return {
    error: (message, fields) => {
      inner.error(fields ?? {}, message);
    },
    warn: (message, fields) => {
      inner.warn(fields ?? {}, message);
    },
    info: (message, fields) => {
      inner.info(fields ?? {}, message);
    },
    progress: (message, fields) => {
      inner.progress(fields ?? {}, message);
    },
    debug: (message, fields) => {
      inner.debug(fields ?? {}, message);
    },
    trace: (message, fields) => {
      inner.trace(fields ?? {}, message);
    },
    child: (fields) => wrap(inner.child(fields)),
    isEnabled: (level) => inner.isLevelEnabled(level),
  };
}

/** A logger for code that runs without one, such as unit tests. */
export function silentLogger(): Logger {
  return createLogger({ level: 0, write: () => undefined, secrets: new SecretTexts() });
}
