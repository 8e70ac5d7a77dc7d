import { isIP, isIPv6 } from "node:net";
import { join } from "node:path";
import { closeNames } from "../close-names.js";
import { Secret } from "../credentials.js";
import { ConfigError } from "../errors.js";
import { serverNameMistake } from "../server-name.js";
import type { SettingKey } from "../settings.js";
import type { ConfigJs, ConfigJsEntry } from "./config-js.js";
import { formatToml, type TomlLine } from "./format-toml.js";
import type { ImportNote } from "./notes.js";
import { readSettings, unsetNotes, VCB_SETTINGS } from "./vcb-settings.js";

/** What is left of a config.js in the terms of vmmount. */
export interface ImportedConfig {
  /** Name of the `[server.NAME]` table. */
  readonly server: string;
  /** A configuration file. */
  readonly toml: string;
  readonly settings: ReadonlyMap<SettingKey, string | number>;
  /** What belongs into `passwordFile`. */
  readonly password: Secret | undefined;
  /** Undefined when there is no password, or no place for it. */
  readonly passwordFile: string | undefined;
  readonly notes: readonly ImportNote[];
}

export interface ImportOptions {
  /** Of config.js, for messages. */
  readonly path: string;
  readonly serverName?: string | undefined;
  /** Where a password file may go; undefined: there is no such place. */
  readonly passwordDirectory?: string | undefined;
}

const LOGIN_KEYS = ["HOST", "PORT", "USERNAME", "PASSWORD"] as const;
const KNOWN_KEYS = [...LOGIN_KEYS, ...Object.keys(VCB_SETTINGS)];
const HTTPS_PORT = 443;

/**
 * Translates the configuration of VMware Consolidated Backup. Keys that it does not set are not written either; where its
 * default was another one than ours, a note says so.
 * @throws ConfigError with the line of a value that VCB would have refused as well
 */
export function importConfig(js: ConfigJs, options: ImportOptions): ImportedConfig {
  const notes: ImportNote[] = js.warnings.map((warning) => ({ kind: "repaired", ...warning }));
  const host = readHost(js, options);
  const server = serverName(host, options);
  const { settings, lines } = readSettings(js, options.path, notes);
  const login = readLogin(js, notes);
  const passwordFile =
    login.password === undefined || options.passwordDirectory === undefined
      ? undefined
      : join(options.passwordDirectory, `${server}.password`);
  notes.push(...passwordNotes(js.entries.get("PASSWORD"), login.password, passwordFile, server));
  notes.push(...unknownKeys(js), ...unsetNotes(js));
  const serverLines: TomlLine[] = [
    { key: "url", value: host.url, from: host.from },
    ...(login.user === undefined ? [] : [{ key: "user", value: login.user.value, from: login.user.from }]),
    ...(passwordFile === undefined ? [] : [{ key: "password_file", value: passwordFile, from: "PASSWORD" }]),
  ];
  const toml = formatToml(options.path, [
    { section: "", lines: [{ key: "default_server", value: server, from: "HOST" }, ...(lines.get("") ?? [])] },
    { section: `server.${quotedName(server)}`, lines: serverLines },
    ...[...lines].filter(([section]) => section !== "").map(([section, of]) => ({ section, lines: of })),
  ]);
  const shown = notes.sort((a, b) => (a.line ?? Infinity) - (b.line ?? Infinity));
  return { server, toml, settings, password: login.password, passwordFile, notes: shown };
}

interface Host {
  readonly name: string;
  readonly url: string;
  readonly from: string;
}

function readHost(js: ConfigJs, { path }: ImportOptions): Host {
  const host = js.entries.get("HOST");
  const port = js.entries.get("PORT");
  if (host === undefined || host.value.trim() === "") {
    throw new ConfigError(`Cannot import "${path}": HOST is not set, and without it there is no server`, {
      hint: 'Write HOST = "the vCenter or ESXi host"; into it',
    });
  }
  const text = host.value.trim();
  // vcbMounter -h took host:port, and some wrote it here.
  const [, name = text, own] = isIPv6(text) ? [] : (/^(\[[0-9A-Fa-f:.]+\]|[^:]+):(\d+)$/.exec(text) ?? []);
  const bare = name.replace(/^\[(.*)\]$/, "$1");
  if (isIP(bare) === 0 && !/^[A-Za-z0-9_]([A-Za-z0-9._-]{0,251}[A-Za-z0-9_])?\.?$/.test(bare)) {
    throw wrongValue(path, host, "HOST is no name or address of a server");
  }
  const number = Number(own ?? port?.value ?? HTTPS_PORT);
  if (!Number.isInteger(number) || number < 1 || number > 65535) {
    throw wrongValue(path, own === undefined && port !== undefined ? port : host, "the port is none from 1 to 65535");
  }
  const authority = isIPv6(bare) ? `[${bare}]` : bare;
  const url = `https://${authority}${number === HTTPS_PORT ? "" : `:${number}`}`;
  if (!URL.canParse(url)) throw wrongValue(path, host, "HOST is no name or address of a server");
  return { name: bare, url, from: port === undefined ? "HOST" : "HOST, PORT" };
}

function wrongValue(path: string, entry: ConfigJsEntry, why: string, hint?: string): ConfigError {
  return new ConfigError(`Cannot import "${path}", line ${entry.line}: ${why}`, { hint });
}

/** The first label of the host's name: what people call it. */
function serverName({ name }: Host, { serverName: wanted, path }: ImportOptions): string {
  if (wanted !== undefined) {
    const wrong = serverNameMistake(wanted);
    if (wrong === undefined) return wanted;
    throw new ConfigError(`Cannot import "${path}" as server "${wanted}": ${wrong}`);
  }
  const label = isIP(name) === 0 ? (name.split(".")[0] ?? "") : "";
  return serverNameMistake(label) === undefined ? label : "vc1";
}

/** A dot in a name would begin another table. */
function quotedName(name: string): string {
  return name.includes(".") ? `"${name}"` : name;
}

function readLogin(
  js: ConfigJs,
  notes: ImportNote[],
): { user: { value: string; from: string } | undefined; password: Secret | undefined } {
  const user = js.entries.get("USERNAME");
  const password = js.entries.get("PASSWORD");
  const secret = password === undefined || password.value === "" ? undefined : new Secret(password.value);
  if (user?.value.trim().toLowerCase() === "__sspi__") {
    notes.push({
      kind: "decide",
      key: "USERNAME",
      line: user.line,
      message:
        "__sspi__, the login of the Windows service, does not exist on Linux: make an account for backups on the server, and " +
        "set user and password_file (see the privileges in docs/OPERATIONS.md)",
    });
    return { user: undefined, password: secret };
  }
  if (user === undefined || user.value === "") {
    const message = "there is no user to log in as: set user, or give --user";
    notes.push({ kind: "decide", key: "USERNAME", line: user?.line, message });
    return { user: undefined, password: secret };
  }
  return { user: { value: user.value, from: "USERNAME" }, password: secret };
}

function passwordNotes(
  entry: ConfigJsEntry | undefined,
  password: Secret | undefined,
  file: string | undefined,
  server: string,
): ImportNote[] {
  const note = (kind: ImportNote["kind"], message: string): ImportNote[] => [
    { kind, key: "PASSWORD", line: entry?.line, message },
  ];
  const later = `write the password into a file with mode 0600 and name it as password_file under [server.${quotedName(server)}]`;
  if (entry === undefined) {
    return note("decide", `it is not set, so VCB asked or took it from the Windows registry: ${later}`);
  }
  if (password === undefined) return note("ignored", `it is empty: ${later}`);
  if (file === undefined) {
    return note("decide", `it is left out, since what is printed here may be seen: give --output FILE, or ${later}`);
  }
  return note("changed", `it is in "${file}" (mode 0600) now; delete config.js when it is not needed any more`);
}

function unknownKeys(js: ConfigJs): ImportNote[] {
  const unknown = [...js.entries.values()].filter(({ key }) => !KNOWN_KEYS.includes(key));
  return unknown.map(({ key, line }) => {
    const [close] = closeNames(key, KNOWN_KEYS, 1);
    const message = `VCB had no such key${close === undefined ? "" : `: did you mean ${close}?`}`;
    return { kind: "ignored", key, line, message };
  });
}
