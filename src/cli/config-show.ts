import type { Command } from "commander";
import { type CommonOptions, withCommonOptions } from "./common-options.js";
import type { ProcessEdge } from "./context.js";
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
  vmmount config show --json`;

export function addConfig(program: Command, edge: ProcessEdge): void {
  const group = program
    .command("config")
    .summary("look at the configuration")
    .description("Looks at the configuration.");
  const command = group
    .command("show")
    .summary("print every setting and where it comes from")
    .description("Prints every setting, its value, where it comes from and what it means; secrets are masked.")
    .addHelpText("after", EXAMPLES);
  withCommonOptions(command, "this host only").action(async (flags: CommonOptions) => {
    const { createContext } = await import("./context.js");
    const { SETTING_KEYS, SETTINGS } = await import("../settings.js");
    const { config, terminal } = createContext(edge, flags);
    const settings = SETTING_KEYS.map((key) => ({
      key,
      value: key === "mount.mode" ? `0${config.settings[key].toString(8)}` : config.settings[key],
      origin: config.origins[key],
      env: SETTINGS[key].env,
      meaning: SETTINGS[key].meaning,
    }));
    const servers = [...config.servers.values()].map(({ password, ...server }) => ({
      ...server,
      ...(password !== undefined && { password: "[redacted]" }),
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
  });
}
