import { readFileSync, statSync } from "node:fs";
import { homedir } from "node:os";
import { isAbsolute, join } from "node:path";
import { parse } from "smol-toml";
import type { z } from "zod";
import { closeNames } from "./close-names.js";
import { ConfigError } from "./errors.js";
import { type Person, personalDefaults } from "./personal-defaults.js";
import {
  SERVER_KEYS,
  type ServerProfile,
  serverProfileSchema,
  type SettingKey,
  SETTING_KEYS,
  type Settings,
  SETTINGS,
} from "./settings.js";

/** A configuration file is a page of text; more is a mistake such as a wrong path. */
const FILE_BYTES_MAX = 1024 * 1024;

export interface ConfiguredServer extends ServerProfile {
  readonly name: string;
  /** The file it was read from; undefined for a server given by flags or environment alone. */
  readonly origin: string | undefined;
}

export interface Config {
  readonly settings: Settings;
  /** Where each setting came from: "default", a file, an environment variable, a flag. */
  readonly origins: Readonly<Record<SettingKey, string>>;
  readonly servers: ReadonlyMap<string, ConfiguredServer>;
  /** Files that were read, in order. */
  readonly files: readonly string[];
}

export interface ConfigInput {
  /** `--config FILE`: read instead of the usual places, and must exist. */
  readonly file?: string | undefined;
  readonly env: Readonly<Record<string, string | undefined>>;
  /** @default the user of this process */
  readonly person?: Person | undefined;
  /** Settings from flags, by key, with the flag as origin. */
  readonly flags: readonly { readonly key: SettingKey; readonly value: unknown; readonly flag: string }[];
}

interface Layer {
  readonly origin: (key: SettingKey) => string;
  readonly values: Readonly<Partial<Record<SettingKey, unknown>>>;
}

/**
 * `/etc/vmmount/config.toml` < `$XDG_CONFIG_HOME/vmmount/config.toml` < `VMMOUNT_*` < flags, validated once.
 * @throws ConfigError that names the file, the key and what it should be
 */
export function loadConfig(input: ConfigInput): Config {
  if (input.env["VMMOUNT_PASSWORD"] !== undefined) {
    throw new ConfigError("Cannot use VMMOUNT_PASSWORD: every program of this user can read environment values", {
      hint: "Put the password into a file with mode 0600 and name it in VMMOUNT_PASSWORD_FILE",
    });
  }
  const files = configFiles(input);
  const tables = files.map((path) => readTable(path));
  const servers = new Map<string, ConfiguredServer>();
  const layers: Layer[] = [
    {
      origin: () => "default",
      values: {
        ...Object.fromEntries(SETTING_KEYS.map((key) => [key, SETTINGS[key].fallback])),
        ...personalDefaults(input.person ?? thisPerson(), input.env),
      },
    },
  ];
  for (const { path, table } of tables) {
    for (const [name, profile] of Object.entries(asTable(table["server"] ?? {}, path, "server"))) {
      servers.set(name, checkedServer(name, profile, path));
    }
    layers.push({ origin: () => path, values: flatten(table, path) });
  }
  const fromEnv: Partial<Record<SettingKey, unknown>> = {};
  for (const key of SETTING_KEYS) {
    const value = input.env[SETTINGS[key].env];
    if (value !== undefined && value !== "") fromEnv[key] = value;
  }
  layers.push({ origin: (key) => SETTINGS[key].env, values: fromEnv });
  layers.push({
    origin: (key) => input.flags.find((flag) => flag.key === key)?.flag ?? "",
    values: Object.fromEntries(input.flags.map((flag) => [flag.key, flag.value])),
  });
  return { ...merge(layers), servers, files };
}

function thisPerson(): Person {
  return {
    uid: process.geteuid?.() ?? 0,
    gid: process.getegid?.() ?? 0,
    // Asked only when HOME is not set: a uid without an entry in the password database has none.
    get home() {
      return homedir();
    },
  };
}

function configFiles(input: ConfigInput): string[] {
  const explicit = input.file ?? input.env["VMMOUNT_CONFIG"];
  if (explicit !== undefined && explicit !== "") return [explicit];
  // XDG Base Directory Specification: an empty or relative value counts as unset. A file of the current directory,
  // which may belong to somebody else, must not configure us.
  const [xdg, home = homedir()] = [input.env["XDG_CONFIG_HOME"], input.env["HOME"]].map((path) =>
    path !== undefined && isAbsolute(path) ? path : undefined,
  );
  const usual = ["/etc/vmmount/config.toml", join(xdg ?? join(home, ".config"), "vmmount/config.toml")];
  return usual.filter((path) => isFile(path));
}

function isFile(path: string): boolean {
  try {
    return statSync(path, { throwIfNoEntry: false })?.isFile() === true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOTDIR") return false;
    throw new ConfigError(`Cannot look for configuration file "${path}": ${(error as Error).message}`, {
      cause: error,
      hint: "Make it readable, or name another one with --config",
    });
  }
}

function readTable(path: string): { path: string; table: Record<string, unknown> } {
  try {
    if (statSync(path).size > FILE_BYTES_MAX) throw new RangeError(`It is larger than ${FILE_BYTES_MAX} bytes`);
    return { path, table: parse(readFileSync(path, "utf8")) };
  } catch (error) {
    const reason = (error as Error).message.split("\n")[0] ?? "";
    throw new ConfigError(`Cannot read configuration file "${path}": ${reason}`, { cause: error });
  }
}

function asTable(value: unknown, path: string, where: string): Record<string, unknown> {
  if (typeof value === "object" && value !== null && !Array.isArray(value) && !(value instanceof Date)) {
    return value as Record<string, unknown>;
  }
  const example = where === "server" ? "[server.NAME]" : `[${where}]`;
  throw new ConfigError(`Cannot use "${where}" in "${path}": it must be a table, such as ${example}`);
}

/** Tables to dotted keys; `[server.*]` is handled apart. */
function flatten(table: Record<string, unknown>, path: string): Partial<Record<SettingKey, unknown>> {
  // Without a prototype: "__proto__" and "constructor" are unknown keys like any other.
  const flat = Object.create(null) as Record<string, unknown>;
  for (const [section, value] of Object.entries(table)) {
    if (section === "server") continue;
    if (SETTING_KEYS.some((key) => key.startsWith(`${section}.`))) {
      for (const [name, inner] of Object.entries(asTable(value, path, section))) flat[`${section}.${name}`] = inner;
    } else {
      flat[section] = value;
    }
  }
  for (const key of Object.keys(flat)) {
    if (!Object.hasOwn(SETTINGS, key)) throw unknownKey(key, SETTING_KEYS, path);
  }
  return flat;
}

function unknownKey(key: string, known: readonly string[], path: string): ConfigError {
  const [close] = closeNames(key, known, 1);
  return new ConfigError(`Cannot use unknown key "${key}" in "${path}"`, {
    hint: close === undefined ? `Known keys: ${known.join(", ")}` : `Did you mean "${close}"?`,
  });
}

function checkedServer(name: string, value: unknown, path: string): ConfiguredServer {
  const where = `server.${name}`;
  const table = asTable(value, path, where);
  for (const key of Object.keys(table)) {
    if (!SERVER_KEYS.includes(key))
      throw unknownKey(
        `${where}.${key}`,
        SERVER_KEYS.map((k) => `${where}.${k}`),
        path,
      );
  }
  if (!/^[A-Za-z0-9][A-Za-z0-9._-]*$/.test(name)) {
    throw new ConfigError(`Cannot use server name "${name}" in "${path}": use letters, digits, ".", "_" and "-"`);
  }
  const parsed = serverProfileSchema.safeParse(table);
  if (!parsed.success) throw invalid(where, parsed.error, path);
  return { ...parsed.data, name, origin: path };
}

function invalid(where: string, error: z.ZodError, origin: string): ConfigError {
  const issue = error.issues[0];
  const key = [where, ...(issue?.path ?? []).map(String)].join(".");
  return new ConfigError(`Cannot use "${key}" from ${origin}: ${issue?.message ?? "it is not valid"}`, {
    cause: error,
  });
}

function merge(layers: readonly Layer[]): Pick<Config, "settings" | "origins"> {
  const settings: Partial<Record<SettingKey, unknown>> = {};
  const origins: Partial<Record<SettingKey, string>> = {};
  for (const key of SETTING_KEYS) {
    const layer = layers.findLast(({ values }) => values[key] !== undefined);
    const origin = layer?.origin(key) ?? "default";
    const parsed = SETTINGS[key].schema.safeParse(layer?.values[key]);
    if (!parsed.success) throw invalid(key, parsed.error, origin);
    settings[key] = parsed.data;
    origins[key] = origin;
  }
  // Every key of the table was just parsed by its own schema.
  return { settings: settings as Settings, origins: origins as Record<SettingKey, string> };
}
