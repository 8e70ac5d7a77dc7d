import { Command, CommanderError } from "commander";
import { UsageError } from "../errors.js";
import { EXIT_CODES } from "../exit-codes.js";
import { VERSION } from "../version.js";
import { addFind, addLs, addSnapshot } from "./browse.js";
import { addCheck } from "./check.js";
import { addConfig } from "./config.js";
import type { ProcessEdge } from "./context.js";
import { addDemo } from "./demo.js";
import { addDoctor } from "./doctor.js";
import { addExport } from "./export.js";
import { addGc } from "./gc.js";
import { addLab } from "./lab.js";
import { addMount } from "./mount.js";
import { addRestore } from "./restore.js";
import { addStatus } from "./status.js";
import { addUmount } from "./umount.js";

const AFTER = `
Exit codes:
${Object.entries(EXIT_CODES)
  .map(([name, { code, meaning }]) => `  ${String(code).padStart(3)}  ${name.padEnd(12)} ${meaning}`)
  .join("\n")}

Try it without a vCenter: vmmount demo`;

/** The whole command tree. */
export function createProgram(edge: ProcessEdge): Command {
  const program = new Command("vmmount")
    .description("Shows the disks of a virtual machine as read-only files, so that any backup agent can copy them.")
    .version(VERSION)
    .showSuggestionAfterError()
    .addHelpText("after", AFTER);
  addMount(program, edge);
  addUmount(program, edge);
  addLs(program, edge);
  addFind(program, edge);
  addRestore(program, edge);
  addExport(program, edge);
  addStatus(program, edge);
  addGc(program, edge);
  addSnapshot(program, edge);
  addCheck(program, edge);
  addDoctor(program, edge);
  addConfig(program, edge);
  addLab(program, edge);
  addDemo(program, edge);
  return program;
}

/**
 * Parses the command line and runs one command.
 * @returns the exit code
 * @throws VmmountError for everything that goes wrong
 */
export async function runCommandLine(argv: readonly string[], edge: ProcessEdge): Promise<number> {
  const program = createProgram(edge);
  for (const command of everyCommand(program)) {
    command.exitOverride().configureOutput({
      writeOut: edge.out,
      writeErr: edge.err,
      // The message comes once, from the error that is thrown.
      outputError: () => undefined,
    });
  }
  try {
    await program.parseAsync([...argv], { from: "user" });
  } catch (error) {
    if (!(error instanceof CommanderError)) throw error;
    if (error.exitCode === 0) return EXIT_CODES.ok.code;
    if (error.code === "commander.help") throw new UsageError("Cannot run: no command is given");
    throw new UsageError(error.message.replace(/^error: /, "").replace(/\n/g, " "), {
      cause: error,
      hint: "See vmmount --help",
    });
  }
  return EXIT_CODES.ok.code;
}

function everyCommand(command: Command): Command[] {
  return [command, ...command.commands.flatMap(everyCommand)];
}
