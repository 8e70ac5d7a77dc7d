import { randomInt } from "node:crypto";
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { ConfigError } from "../errors.js";
import type { Settings } from "../settings.js";
import { unwritable } from "../unwritable.js";
import { refuseForeignDirectory } from "./directory-owner.js";

/** Crockford's base 32 without letters that look like digits: read over the phone at night. */
const ID_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz";
const ID_CHARS = 10;
const ID_FORM = new RegExp(`^[${ID_ALPHABET}]{${ID_CHARS}}$`);

/** 50 random bits. */
export function newSessionId(): string {
  return Array.from({ length: ID_CHARS }, () => ID_ALPHABET[randomInt(ID_ALPHABET.length)] ?? "0").join("");
}

export function isSessionId(text: string): boolean {
  return ID_FORM.test(text);
}

/** A unix socket's path has 108 bytes with its final zero (unix(7)). */
const SOCKET_PATH_BYTES_MAX = 107;

async function makeDirectory(path: string): Promise<void> {
  try {
    await mkdir(path, { recursive: true, mode: 0o700 });
  } catch (error) {
    // What Node says in place of ENOSPC when it makes parents too.
    if ((error as NodeJS.ErrnoException).code !== "ENOENT") throw error;
    await mkdir(path, { mode: 0o700 });
  }
}

/** Where everything of a session lives; directories that we make are 0700, files 0600. */
export class StatePaths {
  readonly #state: string;
  readonly #runtime: string;

  constructor(settings: Pick<Settings, "state.dir" | "runtime.dir">) {
    this.#state = settings["state.dir"];
    this.#runtime = settings["runtime.dir"];
  }

  get sessions(): string {
    return join(this.#state, "sessions");
  }

  /** Records of imports that are under way. */
  get imports(): string {
    return join(this.#state, "imports");
  }

  get logs(): string {
    return join(this.#state, "logs");
  }

  get locks(): string {
    return join(this.#runtime, "locks");
  }

  journal(session: string): string {
    return join(this.sessions, `${session}.journal`);
  }

  log(session: string): string {
    return join(this.logs, `${session}.log`);
  }

  controlSocket(session: string): string {
    return join(this.#runtime, `${session}.sock`);
  }

  /**
   * @throws VmmountError "space", ConfigError when a directory cannot be made or the socket's path would be too long; RefusedError when the
   *   runtime directory is somebody else's
   */
  async prepare(): Promise<void> {
    const longest = this.controlSocket("x".repeat(ID_CHARS));
    if (Buffer.byteLength(longest) > SOCKET_PATH_BYTES_MAX) {
      throw new ConfigError(`Cannot use runtime.dir "${this.#runtime}": its path is too long for a unix socket`);
    }
    for (const path of [this.#state, this.sessions, this.logs, this.#runtime, this.locks]) {
      const isRuntime = path === this.#runtime || path === this.locks;
      try {
        // One that exists keeps its mode: state.dir may name a directory that others need, such as /tmp.
        await makeDirectory(path);
        if (isRuntime) await refuseForeignDirectory(path);
      } catch (error) {
        const doing = `use directory "${path}"`;
        throw unwritable({ doing, setting: isRuntime ? "runtime.dir" : "state.dir" }, error);
      }
    }
  }
}
