import { closeSync, constants, fstatSync, openSync, readSync, statSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { inspect } from "node:util";
import type { ConfiguredServer } from "./config.js";
import { ConfigError } from "./errors.js";

/** Passwords are a line; more is a mistake such as a wrong path. */
const SECRET_BYTES_MAX = 4096;
/** Whoever writes into a pipe has begun by then. */
const PIPE_MS_MAX = 10_000;
const PIPE_POLL_MS = 20;

/** A secret text that no logger, `inspect` or JSON shows. */
export class Secret {
  readonly #text: string;

  constructor(text: string) {
    this.#text = text;
  }

  /** The secret itself: call it where it is used, keep the Secret everywhere else. */
  reveal(): string {
    return this.#text;
  }

  toJSON(): string {
    return "[redacted]";
  }

  toString(): string {
    return "[redacted]";
  }

  [inspect.custom](): string {
    return "[redacted]";
  }
}

export interface CredentialInput {
  readonly server: ConfiguredServer;
  readonly env: Readonly<Record<string, string | undefined>>;
  /** `--password-file FILE` */
  readonly passwordFile?: string | undefined;
  /** `--password-fd N` */
  readonly passwordFd?: number | undefined;
  /** Hears every password before it is used, so that no log shows it. */
  readonly onPassword?: ((password: string) => void) | undefined;
  /** Asks on the terminal; undefined when there is none. */
  readonly prompt?: ((question: string) => Promise<string>) | undefined;
}

export interface Credential {
  readonly user: string;
  readonly password: Secret;
  /** Where it came from, for messages. */
  readonly origin: string;
}

/**
 * Finds user and password. Order: `--password-fd`, `--password-file`, systemd credential `vmmount.SERVER` or
 * `vmmount.password` in `$CREDENTIALS_DIRECTORY`, `VMMOUNT_PASSWORD_FILE`, the server's `password_file`, its
 * `password` (only from a file that nobody else can read), a prompt.
 * @throws ConfigError when none is found or a secret file is readable by others
 */
export async function findCredential(input: CredentialInput): Promise<Credential> {
  const found = await lookUp(input);
  input.onPassword?.(found.password.reveal());
  return found;
}

async function lookUp(input: CredentialInput): Promise<Credential> {
  const named = input.env["VMMOUNT_USER"];
  const user = named === undefined || named === "" ? input.server.user : named;
  if (user === undefined || user === "") {
    throw new ConfigError(`Cannot log in to "${input.server.name}": no user is configured`, {
      hint: `Give --user, set VMMOUNT_USER, or write user = "…" under [server.${input.server.name}]`,
    });
  }
  const found = await fromFiles(input);
  if (found !== undefined) return { user, ...found };
  if (input.prompt !== undefined) {
    const text = await input.prompt(`Password of ${user} on ${input.server.url}: `);
    if (text !== "") return { user, password: new Secret(text), origin: "the terminal" };
  }
  throw new ConfigError(`Cannot log in to "${input.server.name}" as "${user}": no password is configured`, {
    hint: `Write it into a file with mode 0600 and give --password-file, VMMOUNT_PASSWORD_FILE or password_file`,
  });
}

async function fromFiles(input: CredentialInput): Promise<{ password: Secret; origin: string } | undefined> {
  if (input.passwordFd !== undefined) {
    return { password: readSecret(input.passwordFd, `descriptor ${input.passwordFd}`), origin: "--password-fd" };
  }
  const systemd = input.env["CREDENTIALS_DIRECTORY"];
  const candidates: [path: string | undefined, origin: string, mustExist: boolean][] = [
    [input.passwordFile, "--password-file", true],
    [systemd && join(systemd, `vmmount.${input.server.name}`), "systemd credential", false],
    [systemd && join(systemd, "vmmount.password"), "systemd credential", false],
    [input.env["VMMOUNT_PASSWORD_FILE"], "VMMOUNT_PASSWORD_FILE", true],
    [input.server.password_file, `password_file of "${input.server.name}"`, true],
  ];
  for (const [path, origin, mustExist] of candidates) {
    if (path === undefined || path === "") continue;
    if (!mustExist && statSync(path, { throwIfNoEntry: false }) === undefined) continue;
    return { password: await readSecretFile(path, origin), origin };
  }
  if (input.server.password !== undefined) {
    const file = input.server.origin;
    if (file !== undefined) refuseOpenMode(statSync(file).mode, file, "it holds a password");
    return { password: new Secret(input.server.password), origin: file ?? "the configuration" };
  }
  return undefined;
}

async function readSecretFile(path: string, origin: string): Promise<Secret> {
  let fd: number;
  try {
    // Waiting in the kernel for whoever writes into a pipe would keep this process from hearing Ctrl-C.
    fd = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
  } catch (error) {
    throw new ConfigError(`Cannot read password file "${path}" (${origin}): ${(error as Error).message}`, {
      cause: error,
    });
  }
  try {
    const stat = fstatSync(fd);
    // A pipe, such as <(pass show vcenter), has no mode worth checking.
    if (stat.isFIFO()) return await readPipe(fd, `"${path}"`);
    if (stat.isFile()) refuseOpenMode(stat.mode, path, `it is the password file of ${origin}`);
    return readSecret(fd, `"${path}"`);
  } finally {
    closeSync(fd);
  }
}

function refuseOpenMode(mode: number, path: string, why: string): void {
  if ((mode & 0o077) === 0) return;
  throw new ConfigError(
    `Cannot use "${path}": ${why} and other users may open it (mode 0${(mode & 0o777).toString(8)})`,
    { hint: `chmod 600 ${JSON.stringify(path)}` },
  );
}

/** To its end, which it has when its writer closes it. */
async function readPipe(fd: number, where: string): Promise<Secret> {
  const buffer = Buffer.alloc(SECRET_BYTES_MAX + 1);
  try {
    let length = 0;
    for (let until = Date.now() + PIPE_MS_MAX; length <= SECRET_BYTES_MAX;) {
      const got = readSome(fd, buffer.subarray(length));
      length += got ?? 0;
      if (got === 0 && (length > 0 || Date.now() > until)) break;
      // Somebody has it open for writing, and may be asking for a passphrase.
      if (got === undefined) until = Date.now() + PIPE_MS_MAX;
      if (got === undefined || got === 0) await sleep(PIPE_POLL_MS);
    }
    return firstLine(buffer.subarray(0, length));
  } catch (error) {
    throw new ConfigError(`Cannot read a password from ${where}: ${(error as Error).message}`, { cause: error });
  } finally {
    buffer.fill(0);
  }
}

/** @returns 0 without a writer, undefined when one has written nothing more yet */
function readSome(fd: number, into: Buffer): number | undefined {
  try {
    return readSync(fd, into, 0, into.length, null);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "EAGAIN") return undefined;
    throw error;
  }
}

function firstLine(data: Buffer): Secret {
  if (data.length > SECRET_BYTES_MAX) throw new RangeError(`It is longer than ${SECRET_BYTES_MAX} bytes`);
  const text = textOf(data).split(/\r?\n/, 1)[0] ?? "";
  if (text === "") throw new RangeError("It is empty");
  return new Secret(text);
}

/** The first line: editors and `echo` end files with a newline that is no part of a password. */
function readSecret(fd: number, where: string): Secret {
  const buffer = Buffer.alloc(SECRET_BYTES_MAX + 1);
  let length = 0;
  try {
    for (;;) {
      const got = readSync(fd, buffer, length, buffer.length - length, null);
      if (got === 0) break;
      length += got;
      if (length > SECRET_BYTES_MAX) throw new RangeError(`It is longer than ${SECRET_BYTES_MAX} bytes`);
    }
    return firstLine(buffer.subarray(0, length));
  } catch (error) {
    throw new ConfigError(`Cannot read a password from ${where}: ${(error as Error).message}`, { cause: error });
  } finally {
    buffer.fill(0);
  }
}

/** Without the byte order mark of Windows editors. A character that is guessed at is a wrong password, which locks accounts. */
function textOf(data: Uint8Array): string {
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(data);
  } catch (cause) {
    throw new TypeError("It is not UTF-8: save it as UTF-8", { cause });
  }
}
