import { inspect } from "node:util";
import { EXIT_CODES, type ExitName } from "./exit-codes.js";

/** The facts of an error that survive a process border (control socket, `--json`). */
export interface ErrorFacts {
  readonly code: number;
  readonly name: ExitName;
  readonly kind: string;
  readonly message: string;
  readonly hint: string | undefined;
  readonly retryable: boolean;
}

export interface ErrorOptions {
  readonly cause?: unknown;
  /** What the reader can do next: one sentence without a final full stop. */
  readonly hint?: string | undefined;
  readonly retryable?: boolean | undefined;
  /** Another exit than the class's usual one. */
  readonly exit?: ExitName | undefined;
}

/**
 * Base of every expected failure. The message names the action, the object and the reason; the hint says what to try.
 * Protocol modules translate into these classes at their border and nowhere else.
 */
export class VmmountError extends Error {
  readonly hint: string | undefined;
  readonly retryable: boolean;
  readonly exit: ExitName;

  constructor(message: string, exit: ExitName, options: ErrorOptions = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = new.target.name;
    this.hint = options.hint;
    this.retryable = options.retryable ?? false;
    this.exit = options.exit ?? exit;
  }

  get exitCode(): number {
    return EXIT_CODES[this.exit].code;
  }
}

/** The command line is wrong. */
export class UsageError extends VmmountError {
  constructor(message: string, options?: ErrorOptions) {
    super(message, "usage", options);
  }
}

/** A configuration or credential file is wrong. */
export class ConfigError extends VmmountError {
  constructor(message: string, options?: ErrorOptions) {
    super(message, "config", options);
  }
}

/** No such VM, snapshot, disk, mount. */
export class NotFoundError extends VmmountError {
  constructor(message: string, options?: ErrorOptions) {
    super(message, "not-found", options);
  }
}

/** Several objects match where one is needed. */
export class AmbiguousError extends VmmountError {
  constructor(message: string, options?: ErrorOptions) {
    super(message, "ambiguous", options);
  }
}

/** Somebody else holds the thing: mount point, VM lock, open files. */
export class BusyError extends VmmountError {
  constructor(message: string, options?: ErrorOptions) {
    super(message, "busy", options);
  }
}

/** Wrong credentials or missing privilege. Never retried: accounts lock. */
export class AuthError extends VmmountError {
  constructor(message: string, options?: ErrorOptions) {
    super(message, "auth", options);
  }
}

/** The server cannot be reached, or its certificate is not trusted. Retryable unless said otherwise. */
export class UnreachableError extends VmmountError {
  constructor(message: string, options?: ErrorOptions) {
    super(message, "connect", { retryable: true, ...options });
  }
}

/** The hypervisor answered with a fault. */
export class HypervisorFaultError extends VmmountError {
  /** The server's own name for the fault: `InvalidPowerState`, `VDI_IN_USE` … */
  readonly fault: string;

  constructor(message: string, options: ErrorOptions & { readonly fault: string }) {
    super(message, "unavailable", options);
    this.fault = options.fault;
  }
}

/** The snapshot could not be created. */
export class SnapshotError extends VmmountError {
  constructor(message: string, options?: ErrorOptions) {
    super(message, "snapshot", options);
  }
}

/** The guest could not be quiesced. */
export class QuiesceError extends VmmountError {
  constructor(message: string, options?: ErrorOptions) {
    super(message, "quiesce", options);
  }
}

/** Bytes are not what they claim to be: damaged image, hostile descriptor, changed file. */
export class IntegrityError extends VmmountError {
  constructor(message: string, options?: ErrorOptions) {
    super(message, "data", options);
  }
}

/** Disk data could not be read. */
export class DiskIoError extends VmmountError {
  constructor(message: string, options?: ErrorOptions) {
    super(message, "io", options);
  }
}

/** Something the work needs is not there: /dev/fuse, a disk format, a transport, a program. */
export class MissingCapabilityError extends VmmountError {
  constructor(message: string, options?: ErrorOptions) {
    super(message, "unavailable", options);
  }
}

/** A safety rule says no. */
export class RefusedError extends VmmountError {
  constructor(message: string, options?: ErrorOptions) {
    super(message, "refused", options);
  }
}

/** The main job is done, but a snapshot or a mount remains. */
export class LeftoverError extends VmmountError {
  constructor(message: string, options?: ErrorOptions) {
    super(message, "leftover", options);
  }
}

/** The user or a signal asked to stop. */
export class CancelledError extends VmmountError {
  /** The signal number; 0 when no signal was involved. */
  readonly signal: number;

  constructor(message: string, options: ErrorOptions & { readonly signal: number }) {
    super(message, "signal", options);
    this.signal = options.signal;
  }

  override get exitCode(): number {
    return EXIT_CODES.signal.code + this.signal;
  }
}

/** An error that crossed a process border: keeps class name, exit, hint and message of the original. */
export class RemoteError extends VmmountError {
  readonly #code: number;

  constructor(facts: ErrorFacts) {
    super(facts.message, facts.name, { hint: facts.hint, retryable: facts.retryable });
    this.name = facts.kind;
    this.#code = facts.code;
  }

  override get exitCode(): number {
    return this.#code;
  }
}

/** Node's own APIs reject with `AbortError` and keep the abort reason in `cause`: gives the reason back. */
export function unwrapAbort(error: unknown): unknown {
  if (error instanceof Error && error.name === "AbortError" && error.cause instanceof VmmountError) return error.cause;
  return error;
}

/** The facts of any thrown value; what is not a VmmountError is a bug and maps to exit 70. */
export function errorFacts(thrown: unknown): ErrorFacts {
  const error = unwrapAbort(thrown);
  if (error instanceof VmmountError) {
    return {
      code: error.exitCode,
      name: error.exit,
      kind: error.name,
      message: error.message,
      hint: error.hint,
      retryable: error.retryable,
    };
  }
  return {
    code: EXIT_CODES.internal.code,
    name: "internal",
    kind: error instanceof Error ? error.name : "Error",
    message: error instanceof Error ? error.message : String(error),
    hint: "This is a bug in vmmount: please report it with the output of -vv",
    retryable: false,
  };
}

/** Message and causes of an error, root cause last, for a log line. */
export function errorChain(thrown: unknown): string {
  const parts: string[] = [];
  // Bound: a cause chain of more than 8 links is a cycle or noise.
  for (let error = thrown; error !== undefined && parts.length < 8;) {
    const message = error instanceof Error ? error.message : inspect(error);
    if (message !== "" && parts.at(-1) !== message) parts.push(message);
    error = error instanceof Error ? error.cause : undefined;
  }
  return parts.join(": ");
}
