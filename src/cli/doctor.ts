import { hostname } from "node:os";
import type { Command } from "commander";
import { type CommonOptions, withCommonOptions } from "./common-options.js";
import type { CommandContext, ProcessEdge } from "./context.js";
import { answer, size } from "./output.js";

const EXAMPLES = `
Examples:
  vmmount doctor                               what mounts need of this host
  vmmount doctor --bundle                      one file for support, in this directory
  vmmount doctor --bundle /root/vmmount.tar    and there

The bundle holds logs, journals, configuration, versions, mounts, the checks of this host, and what the configured servers tell of
the VMs of this host's mounts. Passwords, sessions and tickets are hidden in all of it; names and addresses are not: look before you send it.`;

interface DoctorFlags extends CommonOptions {
  readonly bundle?: string | true;
}

export function addDoctor(program: Command, edge: ProcessEdge): void {
  const command = program
    .command("doctor")
    .summary("check this host; make a bundle for support")
    .description("Checks what mounts need of this host, or writes one tar with all that support wants to see.")
    .option("--bundle [file]", "write a tar, mode 0600, which must not exist; default: a name with the time, here")
    .addHelpText("after", EXAMPLES);
  withCommonOptions(command, "this host only").action(async (flags: DoctorFlags) => {
    const { createContext } = await import("./context.js");
    const context = createContext(edge, flags);
    if (flags.bundle === undefined) await checkThisHost(context);
    else await makeBundle(context, flags.bundle === true ? defaultName(new Date()) : flags.bundle, edge);
  });
}

async function checkThisHost({ config, paths, terminal, signal }: CommandContext): Promise<void> {
  const [{ checkLocalHost }, { toReport }, { describeReport, failOf, reportJson }] = await Promise.all([
    import("../check/local-host.js"),
    import("../check/report.js"),
    import("./check.js"),
  ]);
  const report = toReport(await checkLocalHost({ settings: config.settings, paths }, signal));
  answer(terminal, reportJson(report), () => describeReport(report));
  failOf(report);
}

async function makeBundle(context: CommandContext, file: string, { env }: ProcessEdge): Promise<void> {
  const { writeBundle } = await import("../check/bundle.js");
  const bundle = await writeBundle(file, { ...context, env });
  const total = bundle.entries.reduce((sum, { bytes }) => sum + bytes, 0);
  answer(context.terminal, bundle, () =>
    [
      `Wrote ${bundle.entries.length} files, ${size(total)}, to ${bundle.file}. Look before you send it`,
      ...bundle.notes,
    ].join("\n"),
  );
}

/** `vmmount-doctor-HOST-20260304-050607.tar` */
function defaultName(now: Date): string {
  const time = now.toISOString().replace(/[-:]/g, "").replace("T", "-").slice(0, 15);
  return `vmmount-doctor-${hostname().replace(/[^\w.-]/g, "_")}-${time}.tar`;
}
