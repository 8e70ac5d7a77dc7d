import type { Command } from "commander";
import { type CommonOptions, withCommonOptions } from "./common-options.js";
import type { ProcessEdge } from "./context.js";
import { answer } from "./output.js";

const EXAMPLES = `
Examples:
  vmmount doctor          what mounts need of this host`;

export function addDoctor(program: Command, edge: ProcessEdge): void {
  const command = program
    .command("doctor")
    .summary("check this host")
    .description("Checks what mounts need of this host, without asking any server.")
    .addHelpText("after", EXAMPLES);
  withCommonOptions(command, "this host only").action(async (flags: CommonOptions) => {
    const [{ createContext }, { checkLocalHost }, { toReport }, { describeReport, failOf, reportJson }] =
      await Promise.all([
        import("./context.js"),
        import("../check/local-host.js"),
        import("../check/report.js"),
        import("./check.js"),
      ]);
    const { config, paths, terminal, signal } = createContext(edge, flags);
    const report = toReport(await checkLocalHost({ settings: config.settings, paths }, signal));
    answer(terminal, reportJson(report), () => describeReport(report));
    failOf(report);
  });
}
