import { closeSync, lstatSync, openSync, readSync, statSync } from "node:fs";
import { isAbsolute, join } from "node:path";
import { parse } from "smol-toml";
import { ConfigError } from "./errors.js";
import { homeOfDatabase } from "./personal-defaults.js";
import { TomlLines } from "./toml-lines.js";

/** A configuration file is a page of text; more is a mistake such as a wrong path. */
const FILE_BYTES_MAX = 1024 * 1024;

export interface ConfigFile {
  readonly path: string;
  readonly table: Readonly<Record<string, unknown>>;
  readonly lines: TomlLines;
}

/** The one file that is named, or those of the usual places that exist. @throws ConfigError */
export function configFiles(
  named: string | undefined,
  env: Readonly<Record<string, string | undefined>>,
): readonly string[] {
  const explicit = named ?? env["VMMOUNT_CONFIG"];
  if (explicit !== undefined && explicit !== "") return [explicit];
  // XDG Base Directory Specification: an empty or relative value counts as unset. A file of the current directory,
  // which may belong to somebody else, must not configure us.
  const [xdg, homeOfEnv] = [env["XDG_CONFIG_HOME"], env["HOME"]].map((path) =>
    path !== undefined && isAbsolute(path) ? path : undefined,
  );
  const home = xdg === undefined ? (homeOfEnv ?? homeOfDatabase()) : undefined;
  const own = xdg ?? (home === undefined ? undefined : join(home, ".config"));
  const usual = ["/etc/vmmount/config.toml", ...(own === undefined ? [] : [join(own, "vmmount/config.toml")])];
  return usual.filter((path) => isThere(path));
}

/** @throws ConfigError for what is there and cannot be read: to go on without what it says would be worse */
function isThere(path: string): boolean {
  try {
    if (lstatSync(path, { throwIfNoEntry: false }) === undefined) return false;
    const stat = statSync(path);
    // /dev/null stands for an empty file.
    if (stat.isFile() || stat.isCharacterDevice()) return true;
    throw new TypeError("It is no file");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOTDIR") return false;
    throw new ConfigError(`Cannot look for configuration file "${path}": ${(error as Error).message}`, {
      cause: error,
      hint: "Make it readable, or name another one with --config",
    });
  }
}

/** @throws ConfigError for a file that cannot be read or is no TOML */
export function readConfigFile(path: string): ConfigFile {
  try {
    const text = textOf(readBounded(path));
    return { path, table: parse(text), lines: new TomlLines(text) };
  } catch (error) {
    const reason = (error as Error).message.split("\n")[0] ?? "";
    throw new ConfigError(`Cannot read configuration file "${path}": ${reason}`, { cause: error });
  }
}

/** Whatever it is: a device may have no end and no size. */
function readBounded(path: string): Buffer {
  const fd = openSync(path, "r");
  try {
    const buffer = Buffer.alloc(FILE_BYTES_MAX + 1);
    let length = 0;
    for (;;) {
      const got = readSync(fd, buffer, length, buffer.length - length, null);
      if (got === 0) return buffer.subarray(0, length);
      length += got;
      if (length > FILE_BYTES_MAX) throw new RangeError(`It is larger than ${FILE_BYTES_MAX} bytes`);
    }
  } finally {
    closeSync(fd);
  }
}

/** A character that is guessed at would be a wrong user or password. @throws TypeError with the line */
function textOf(data: Buffer): string {
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(data);
  } catch (cause) {
    const good = data.toString("utf8").split("\n");
    const line = good.findIndex((text) => text.includes("\ufffd")) + 1;
    throw new TypeError(`Line ${line} is not UTF-8: save it as UTF-8`, { cause });
  }
}
