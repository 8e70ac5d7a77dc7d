import type { z } from "zod";
import { closeNames } from "./close-names.js";
import { type ConfigFile, configFiles, readConfigFile } from "./config-file.js";
import { ConfigMistakes, type ConfigMistake } from "./config-mistakes.js";
import { ConfigError } from "./errors.js";
import { neededHome, type Person, personalDefaults } from "./personal-defaults.js";
import { serverNameMistake } from "./server-name.js";
import { settingConflicts } from "./setting-conflicts.js";
import { type SettingOrigin, originText } from "./setting-origin.js";
import { settingText } from "./setting-text.js";
import {
  SERVER_KEYS,
  type ServerProfile,
  serverProfileSchema,
  type SettingKey,
  SETTING_KEYS,
  type Settings,
  SETTINGS,
} from "./settings.js";

export interface ConfiguredServer extends ServerProfile {
  readonly name: string;
  /** The file it was read from; undefined for a server given by flags or environment alone. */
  readonly origin: string | undefined;
}

export interface Config {
  readonly settings: Settings;
  readonly origins: Readonly<Record<SettingKey, SettingOrigin>>;
  readonly servers: ReadonlyMap<string, ConfiguredServer>;
  /** Of the keys of each server, by its name. */
  readonly serverOrigins: ReadonlyMap<string, ReadonlyMap<string, SettingOrigin>>;
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
  readonly origin: (key: SettingKey) => SettingOrigin;
  readonly values: Readonly<Partial<Record<SettingKey, unknown>>>;
}

/**
 * `/etc/vmmount/config.toml` < `$XDG_CONFIG_HOME/vmmount/config.toml` < `VMMOUNT_*` < flags, validated once. No server is
 * asked.
 * @throws ConfigError that names, for everything that is wrong, the file, the line, the key and what it should be
 */
export function loadConfig(input: ConfigInput): Config {
  if (input.env["VMMOUNT_PASSWORD"] !== undefined) {
    throw new ConfigError("Cannot use VMMOUNT_PASSWORD: every program of this user can read environment values", {
      hint: "Put the password into a file with mode 0600 and name it in VMMOUNT_PASSWORD_FILE",
    });
  }
  const files = configFiles(input.file, input.env);
  const mistakes = new ConfigMistakes();
  const servers = new Map<string, ConfiguredServer>();
  const serverOrigins = new Map<string, ReadonlyMap<string, SettingOrigin>>();
  const layers: Layer[] = [defaults(input)];
  for (const path of files) {
    const file = readConfigFile(path);
    for (const [name, profile] of Object.entries(asTable(file, ["server"], file.table["server"] ?? {}, mistakes))) {
      const server = checkedServer(file, name, profile, mistakes);
      if (server === undefined) continue;
      servers.set(name, server);
      serverOrigins.set(name, new Map(SERVER_KEYS.map((key) => [key, whereIn(file, ["server", name, key])])));
    }
    layers.push({ origin: (key) => whereIn(file, key.split(".")), values: flatten(file, mistakes) });
  }
  layers.push(...environmentAndFlags(input));
  const merged = merge(layers, mistakes);
  mistakes.add(...unknownServer(merged, servers));
  mistakes.refuse();
  const { settings, origins } = merged as Pick<Config, "settings" | "origins">;
  // Conflicts are between settings that are right by themselves.
  mistakes.add(...conflictsOf(settings, origins));
  mistakes.refuse();
  return { settings, origins, servers, serverOrigins, files };
}

function defaults(input: ConfigInput): Layer {
  return {
    origin: () => ({ kind: "default" }),
    values: {
      ...Object.fromEntries(SETTING_KEYS.map((key) => [key, SETTINGS[key].fallback])),
      ...personalDefaults(input.person ?? thisPerson(), input.env),
    },
  };
}

function environmentAndFlags(input: ConfigInput): Layer[] {
  const fromEnv: Partial<Record<SettingKey, unknown>> = {};
  for (const key of SETTING_KEYS) {
    const value = input.env[SETTINGS[key].env];
    if (value !== undefined && value !== "") fromEnv[key] = value;
  }
  return [
    { origin: (key) => ({ kind: "env", name: SETTINGS[key].env }), values: fromEnv },
    {
      origin: (key) => ({ kind: "flag", name: input.flags.find((flag) => flag.key === key)?.flag ?? "" }),
      values: Object.fromEntries(input.flags.map((flag) => [flag.key, flag.value])),
    },
  ];
}

function thisPerson(): Person {
  return {
    uid: process.geteuid?.() ?? 0,
    gid: process.getegid?.() ?? 0,
    // Asked only when HOME is not set.
    get home() {
      return neededHome();
    },
  };
}

function whereIn({ path, lines }: ConfigFile, key: readonly string[]): SettingOrigin {
  return { kind: "file", path, line: lines.of(key) };
}

function asTable(
  file: ConfigFile,
  key: readonly string[],
  value: unknown,
  mistakes: ConfigMistakes,
): Record<string, unknown> {
  if (typeof value === "object" && value !== null && !Array.isArray(value) && !(value instanceof Date)) {
    return value as Record<string, unknown>;
  }
  const where = key.join(".");
  const example = where === "server" ? "[server.NAME]" : `[${where}]`;
  const place = originText(whereIn(file, key));
  mistakes.add({ message: `Cannot use "${where}" in "${place}": it must be a table, such as ${example}` });
  return {};
}

/** Tables to dotted keys; `[server.*]` is handled apart. */
function flatten(file: ConfigFile, mistakes: ConfigMistakes): Partial<Record<SettingKey, unknown>> {
  // Without a prototype: "__proto__" and "constructor" are unknown keys like any other.
  const flat = Object.create(null) as Record<string, unknown>;
  for (const [section, value] of Object.entries(file.table)) {
    if (section === "server") continue;
    if (SETTING_KEYS.some((key) => key.startsWith(`${section}.`))) {
      const table = asTable(file, [section], value, mistakes);
      for (const [name, inner] of Object.entries(table)) flat[`${section}.${name}`] = inner;
    } else {
      flat[section] = value;
    }
  }
  for (const key of Object.keys(flat)) {
    if (Object.hasOwn(SETTINGS, key)) continue;
    mistakes.add(unknownKey(file, key.split("."), SETTING_KEYS));
    Reflect.deleteProperty(flat, key);
  }
  return flat;
}

function unknownKey(file: ConfigFile, key: readonly string[], known: readonly string[]): ConfigMistake {
  const name = key.join(".");
  const [close] = closeNames(name, known, 1);
  return {
    message: `Cannot use unknown key "${name}" in "${originText(whereIn(file, key))}"`,
    hint: close === undefined ? `Known keys: ${known.join(", ")}` : `Did you mean "${close}"?`,
  };
}

function checkedServer(
  file: ConfigFile,
  name: string,
  value: unknown,
  mistakes: ConfigMistakes,
): ConfiguredServer | undefined {
  const key = ["server", name];
  const place = originText(whereIn(file, key));
  const wrong = serverNameMistake(name);
  if (wrong !== undefined) mistakes.add({ message: `Cannot use server name "${name}" in "${place}": ${wrong}` });
  if (typeof value !== "object" || value === null || Array.isArray(value) || value instanceof Date) {
    asTable(file, key, value, mistakes);
    return undefined;
  }
  const known = SERVER_KEYS.map((one) => `server.${name}.${one}`);
  const unknown = Object.keys(value).filter((one) => !SERVER_KEYS.includes(one));
  mistakes.add(...unknown.map((one) => unknownKey(file, [...key, one], known)));
  const rest = Object.fromEntries(Object.entries(value).filter(([one]) => !unknown.includes(one)));
  const parsed = serverProfileSchema.safeParse(rest);
  if (parsed.success) return { ...parsed.data, name, origin: file.path };
  for (const { path, message } of parsed.error.issues) {
    const at = [...key, ...path.map(String)];
    mistakes.add(invalid(at.join("."), message, whereIn(file, at)));
  }
  return undefined;
}

function invalid(key: string, message: string | undefined, origin: SettingOrigin): ConfigMistake {
  return { message: `Cannot use "${key}" from ${originText(origin)}: ${message ?? "it is not valid"}` };
}

/** Settings that are not valid are missing; the mistakes tell of them. */
function merge(
  layers: readonly Layer[],
  mistakes: ConfigMistakes,
): { settings: Partial<Settings>; origins: Partial<Record<SettingKey, SettingOrigin>> } {
  const settings: Partial<Record<SettingKey, unknown>> = {};
  const origins: Partial<Record<SettingKey, SettingOrigin>> = {};
  for (const key of SETTING_KEYS) {
    const layer = layers.findLast(({ values }) => values[key] !== undefined);
    const origin = layer?.origin(key) ?? { kind: "default" };
    const parsed: z.ZodSafeParseResult<unknown> = SETTINGS[key].schema.safeParse(layer?.values[key]);
    origins[key] = origin;
    if (parsed.success) settings[key] = parsed.data;
    else mistakes.add(invalid(key, parsed.error.issues[0]?.message, origin));
  }
  return { settings: settings as Partial<Settings>, origins };
}

/** What a flag or the environment names is checked by whoever wants a server: not every command does. */
function unknownServer(
  { settings, origins }: ReturnType<typeof merge>,
  servers: ReadonlyMap<string, unknown>,
): ConfigMistake[] {
  const name = settings.default_server ?? "";
  const origin = origins.default_server;
  if (origin?.kind !== "file" || name === "" || name.includes("://") || servers.has(name)) return [];
  const [close] = closeNames(name, [...servers.keys()], 1);
  const known =
    servers.size === 0 ? "no [server.NAME] is configured" : `it is none of ${[...servers.keys()].join(", ")}`;
  return [
    {
      ...invalid("default_server", `there is no server "${name}": ${known}`, origin),
      hint: close === undefined ? undefined : `Did you mean "${close}"?`,
    },
  ];
}

function conflictsOf(settings: Settings, origins: Config["origins"]): ConfigMistake[] {
  return settingConflicts(settings).map(({ keys, reason, hint }) => {
    const named = keys.map(
      (key) => `${key} = ${JSON.stringify(settingText(key, settings[key]))} (${originText(origins[key])})`,
    );
    return { message: `Cannot use ${named.join(", ")} together: ${reason}`, hint };
  });
}
