import type { Command } from "commander";
import { printable } from "../printable.js";
import type { ImportNote } from "../vcb/notes.js";
import { type CommonOptions, withCommonOptions } from "./common-options.js";
import type { ProcessEdge } from "./context.js";
import { answer } from "./output.js";

interface ImportFlags extends CommonOptions {
  readonly output?: string;
  readonly serverName?: string;
}

const EXAMPLES = `
Examples:
  vmmount config import-vcb config.js                                        look at what comes out
  vmmount config import-vcb config.js --output /etc/vmmount/config.toml      write it, and the password beside it
  vmmount config import-vcb config.js --server-name vc1 --json

What was ignored, means something else here, or needs a decision is told on stderr. Nothing is ever overwritten.`;

export function addConfigImport(group: Command, edge: ProcessEdge): void {
  const command = group
    .command("import-vcb")
    .summary("translate the config.js of VMware Consolidated Backup")
    .description(
      "Translates the config.js of VMware Consolidated Backup into a configuration of vmmount, which it prints or writes.",
    )
    .argument("<config.js>", "the file; UTF-8, UTF-16 or code page 1252")
    .option("-o, --output <file>", "write the configuration there, mode 0600, and the password into a file beside it")
    .option("--server-name <name>", "name of the server in the configuration (default: the first part of HOST)")
    .addHelpText("after", EXAMPLES);
  withCommonOptions(command, "this host only").action(async (path: string, flags: ImportFlags) => {
    const { importFile } = await import("../vcb/import-file.js");
    const { output, serverName } = flags;
    const { imported, written } = await importFile(path, { output, serverName });
    const terminal = { ...edge, json: flags.json === true };
    const { server, toml, passwordFile, notes } = imported;
    const facts = { server, output: written ?? null, passwordFile: passwordFile ?? null, toml, notes };
    if (!terminal.json) edge.err(notes.map((note) => `${printable(noteText(note))}\n`).join(""));
    answer(terminal, facts, () =>
      written === undefined
        ? toml
        : `Wrote ${printable(written)}${passwordFile === undefined ? "" : ` and ${printable(passwordFile)}`}`,
    );
  });
}

const KINDS: Readonly<Record<ImportNote["kind"], string>> = {
  ignored: "ignored",
  changed: "changed",
  decide: "PLEASE DECIDE",
  repaired: "repaired",
};

function noteText({ kind, key, line, message }: ImportNote): string {
  return `vmmount: ${key}${line === undefined ? "" : ` (line ${line})`}: ${KINDS[kind]}: ${message}`;
}
