// Writes man/vmmount.1 from the command tree, so that it cannot say anything else than --help does.
//   node scripts/man-page.mjs           writes it
//   node scripts/man-page.mjs --check   fails when the file differs
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { createProgram } from "../dist/cli/program.js";
import { EXIT_CODES } from "../dist/exit-codes.js";
import { LOCATOR_FORMS } from "../dist/locator.js";
import { SETTING_KEYS, SETTINGS } from "../dist/settings.js";
import { VERSION } from "../dist/version.js";

const PATH = new URL("../man/vmmount.1", import.meta.url);

const roff = (text) =>
  text
    .replace(/\\/g, "\\e")
    .replace(/-/g, "\\-")
    .replace(/^([.'])/gm, "\\&$1");
const out = [];
const section = (name) => out.push(`.SH ${name}`);
const item = (term, text) => out.push(".TP", `.B ${roff(term)}`, roff(text));

const edge = {
  env: {},
  out: () => {},
  err: () => {},
  isInteractive: false,
  canPrompt: false,
  program: "",
  signal: undefined,
};
const program = createProgram(edge);

out.push(`.TH VMMOUNT 1 "" "vmmount ${VERSION}" "User Commands"`);
section("NAME");
out.push("vmmount \\- show the disks of a virtual machine as read\\-only files, for any backup agent");
section("SYNOPSIS");
out.push(".B vmmount", "COMMAND [OPTIONS]");
section("DESCRIPTION");
out.push(
  roff(
    "vmmount snapshots a virtual machine on vSphere, shows its disks as flat, sparse, read-only image files under a directory, " +
      "and removes the snapshot when the directory is unmounted. Any program that copies files can back them up. " +
      "Virtual machines that lie in a folder of this host, such as an NFS datastore or the folder of VMware Workstation, are " +
      "shown as they lie there, without a server and without a snapshot (dir:///FOLDER); shut them down first.",
  ),
);
const commandSection = (command, path) => {
  const help = command.createHelp();
  const isGroup = command.commands.length > 0;
  // A command may have subcommands and an action of its own, such as "lab"; a mere group has only --help.
  if (isGroup && help.visibleOptions(command).length <= 1) {
    for (const inner of command.commands) commandSection(inner, `${path} ${command.name()}`.trim());
    return;
  }
  out.push(`.SS ${roff(`vmmount ${`${path} ${command.name()}`.trim()} ${command.usage()}`)}`);
  out.push(roff(command.description()));
  if (command.aliases().length > 0) out.push(roff(`Also: ${command.aliases().join(", ")}.`));
  for (const option of help.visibleOptions(command)) item(option.flags, option.description);
  for (const inner of command.commands) commandSection(inner, `${path} ${command.name()}`.trim());
};
section("COMMANDS");
for (const command of program.createHelp().visibleCommands(program)) {
  if (command.name() !== "help") commandSection(command, "");
}
section("OPTIONS");
for (const option of program.createHelp().visibleOptions(program)) item(option.flags, option.description);
section("LOCATORS");
for (const { example, meaning } of Object.values(LOCATOR_FORMS)) item(example, meaning);
section("CONFIGURATION");
out.push(
  roff(
    "/etc/vmmount/config.toml, then $XDG_CONFIG_HOME/vmmount/config.toml, then the environment, then options. See docs/OPERATIONS.md.",
  ),
);
for (const key of SETTING_KEYS) {
  item(
    `${key} (${SETTINGS[key].env})`,
    `${SETTINGS[key].meaning}. Default: ${SETTINGS[key].fallback === "" ? "none" : SETTINGS[key].fallback}.`,
  );
}
section("EXIT STATUS");
for (const [name, { code, meaning }] of Object.entries(EXIT_CODES)) item(`${code} ${name}`, meaning);
section("FILES");
item("/var/lib/vmmount", "journals of snapshot sessions, logs of mount daemons");
item("/run/vmmount", "control sockets and locks");
section("SEE ALSO");
out.push("mount(8), umount(8), qemu\\-img(1), fuse(4)");

const text = `${out.join("\n")}\n`;
if (process.argv.includes("--check")) {
  let now = "";
  try {
    now = readFileSync(PATH, "utf8");
  } catch (error) {
    console.error(error.message);
  }
  if (now !== text) {
    console.error("man/vmmount.1 is out of date: run node scripts/man-page.mjs");
    process.exitCode = 1;
  }
} else {
  mkdirSync(new URL("../man/", import.meta.url), { recursive: true });
  writeFileSync(PATH, text);
}
