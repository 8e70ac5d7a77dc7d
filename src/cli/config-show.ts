import type { Command } from "commander";
import type { ConfiguredServer } from "../config.js";
import type { SettingOrigin } from "../setting-origin.js";
import type { SettingKey } from "../settings.js";
import { type CommonOptions, withCommonOptions } from "./common-options.js";
import type { CommandContext, ProcessEdge } from "./context.js";
import { answer, table } from "./output.js";

const EXAMPLES = `
Files, later ones win: /etc/vmmount/config.toml, $XDG_CONFIG_HOME/vmmount/config.toml; then VMMOUNT_… and flags.

  [server.vc1]
  url = "https://vcenter.example.org"
  user = "backup@vsphere.local"
  password_file = "/etc/vmmount/vc1.password"     # mode 0600
  fingerprint = "AA:BB:…"                         # or ca_file = "/etc/vmmount/ca.pem"

Examples:
  vmmount config show
  vmmount config show --json
  vmmount config show --effective                 every setting and server key, with file and line`;

const MASKED = "[redacted]";

interface ShowFlags extends CommonOptions {
  readonly effective?: boolean;
}

export function addConfigShow(group: Command, edge: ProcessEdge): void {
  const command = group
    .command("show")
    .summary("print every setting and where it comes from")
    .description("Prints every setting, its value, where it comes from and what it means; secrets are masked.")
    .option("--effective", "what holds now: settings and the keys of servers, with the file and line of each")
    .addHelpText("after", EXAMPLES);
  withCommonOptions(command, "this host only").action(async (flags: ShowFlags) => {
    const { createContext } = await import("./context.js");
    const context = createContext(edge, flags);
    if (flags.effective === true) await showEffective(context);
    else await showAll(context);
  });
}

async function showAll({ config, terminal }: CommandContext): Promise<void> {
  const { SETTING_KEYS, SETTINGS } = await import("../settings.js");
  const settings = SETTING_KEYS.map((key) => {
    const origin = config.origins[key];
    return {
      key,
      value: key === "mount.mode" ? `0${config.settings[key].toString(8)}` : config.settings[key],
      origin: origin.kind === "file" ? origin.path : (sourceOf(origin) ?? "default"),
      env: SETTINGS[key].env,
      meaning: SETTINGS[key].meaning,
    };
  });
  const servers = [...config.servers.values()].map(({ password, ...server }) => ({
    ...server,
    ...(password !== undefined && { password: MASKED }),
  }));
  answer(terminal, { files: config.files, settings, servers }, () =>
    [
      `Files: ${config.files.length === 0 ? "none" : config.files.join(", ")}`,
      "",
      table(
        ["SETTING", "VALUE", "FROM", "MEANING"],
        settings.map(({ key, value, origin, meaning }) => [key, String(value), origin, meaning]),
      ),
      "",
      table(
        ["SERVER", "URL", "USER", "FROM"],
        servers.map((server) => [server.name, server.url, server.user ?? "", server.origin ?? ""]),
      ),
    ].join("\n"),
  );
}

/** What scripts may rely on: names and meanings of these fields stay. */
interface EffectiveValue {
  readonly key: string;
  /** Sizes are bytes, durations milliseconds; the list of transports is an array. */
  readonly value: unknown;
  /** As it would be written in the file. */
  readonly text: string;
  readonly origin: SettingOrigin["kind"];
  /** The file, environment variable or flag; null for a default. */
  readonly source: string | null;
  readonly line: number | null;
}

async function showEffective({ config, terminal, choice }: CommandContext): Promise<void> {
  const { settingText } = await import("../setting-text.js");
  const { originText } = await import("../setting-origin.js");
  const { chooseServer } = await import("../mount/connection.js");
  const { SETTING_KEYS, SERVER_KEYS } = await import("../settings.js");
  const shown = (key: string, value: unknown, text: string, origin: SettingOrigin): EffectiveValue => ({
    key,
    value,
    text,
    origin: origin.kind,
    source: sourceOf(origin),
    line: origin.kind === "file" ? (origin.line ?? null) : null,
  });
  const ofSetting = (key: SettingKey): EffectiveValue =>
    shown(key, config.settings[key], settingText(key, config.settings[key]), config.origins[key]);
  const settings = SETTING_KEYS.map(ofSetting);
  const servers = [...config.servers.values()].map((configured) => {
    const effective = chooseServer(config, configured.name, choice);
    const values = SERVER_KEYS.flatMap((key) => {
      const name = key as keyof ConfiguredServer;
      if (effective[name] === undefined) return [];
      const value = name === "password" ? MASKED : effective[name];
      const inFile = config.serverOrigins.get(configured.name)?.get(key) ?? ({ kind: "default" } as const);
      const origin = effective[name] === configured[name] ? inFile : overriding(key);
      return [shown(key, value, String(value), origin)];
    });
    return { name: configured.name, values };
  });
  const rows = (values: readonly EffectiveValue[], prefix = ""): string[][] =>
    values.map((one) => [`${prefix}${one.key}`, one.text, placeOf(one)]);
  const placeOf = ({ source, line, origin }: EffectiveValue): string =>
    source === null ? origin : line === null ? source : originText({ kind: "file", path: source, line });
  answer(terminal, { files: config.files, settings, servers }, () =>
    table(
      ["SETTING", "VALUE", "FROM"],
      [...rows(settings), ...servers.flatMap(({ name, values }) => rows(values, `server.${name}.`))],
    ),
  );
}

/** The environment wins over the server's own keys; this command takes no flags for them. */
function overriding(key: string): SettingOrigin {
  return { kind: "env", name: `VMMOUNT_${key.toUpperCase()}` };
}

function sourceOf(origin: SettingOrigin): string | null {
  if (origin.kind === "default") return null;
  return origin.kind === "file" ? origin.path : origin.name;
}
