import type { Command } from "commander";
import type { Check, CheckReport, CheckSummary, Subject } from "../check/report.js";
import { VmmountError } from "../errors.js";
import { EXIT_CODES } from "../exit-codes.js";
import { printable } from "../printable.js";
import { type CommonOptions, withCommonOptions } from "./common-options.js";
import type { ProcessEdge } from "./context.js";
import { answer, table } from "./output.js";

const EXAMPLES = `
Examples:
  vmmount check                        this host and every configured server
  vmmount check vc1                    this host and one server: login, certificate, clock
  vmmount check vc1 /dc1/web01         and one VM: privileges, ports, disks, snapshots, free space
  vmmount check /dc1/web01 --json | jq '.checks[] | select(.state == "fail")'

Nothing is changed anywhere. The exit code is 0 when nothing failed, else that of the gravest failure.`;

export function addCheck(program: Command, edge: ProcessEdge): void {
  const command = program
    .command("check")
    .summary("test login, privileges, ports and a VM before the backup does")
    .description(
      "Tests what a mount needs: this host, a server, and a VM; each answer is one line. Changes nothing on the server.",
    )
    .argument("[server]", "configured server or URL; default: all that are configured")
    .argument("[vm]", "VM locator")
    .addHelpText("after", EXAMPLES);
  withCommonOptions(command, "a server").action(
    async (server: string | undefined, vm: string | undefined, flags: CommonOptions) => {
      const { createContext } = await import("./context.js");
      const { parseTarget, runChecks } = await import("../check/run.js");
      const context = createContext(edge, flags);
      const report = await runChecks(parseTarget(server, vm, context.config), context);
      answer(context.terminal, reportJson(report), () => describeReport(report));
      failOf(report);
    },
  );
}

/** The last line of a failed run. @throws VmmountError with the exit code of the gravest failure */
export function failOf({ checks, summary }: CheckReport): void {
  if (summary.exit === undefined) return;
  const first = checks.find(({ state, exit }) => state === "fail" && exit === summary.exit);
  const reason = first === undefined ? "" : `: ${first.text}`;
  throw new VmmountError(
    `${summary.fail} of ${checks.length} checks failed, the gravest of them${reason}`,
    summary.exit,
    {
      hint: first?.hint,
    },
  );
}

/** Keys stay as they are from release to release; new ones may come. */
export function reportJson({ checks, summary }: CheckReport): object {
  const exitCode = summary.exit === undefined ? 0 : EXIT_CODES[summary.exit].code;
  return { checks, summary: { ...summary, exitCode } };
}

const STATES = { ok: "ok", warn: "WARN", fail: "FAIL", skip: "skip" } as const;

export function describeReport({ checks, summary }: CheckReport): string {
  const groups = new Map<string, Check[]>();
  for (const check of checks) {
    const title = titleOf(check.subject);
    groups.set(title, [...(groups.get(title) ?? []), check]);
  }
  const parts = [...groups].map(([title, group]) => {
    const rows = group.map(({ state, id, text, hint }) => [
      STATES[state],
      id,
      hint === undefined ? text : `${text}. ${hint}`,
    ]);
    return `${title}\n${table(["STATE", "CHECK", "ANSWER"], rows)}`;
  });
  return [...parts, describeSummary(summary)].join("\n\n");
}

function titleOf({ kind, name }: Subject): string {
  return kind === "host" ? `This host, ${printable(name)}` : `${kind === "vm" ? "VM" : "Server"} ${printable(name)}`;
}

function describeSummary({ ok, warn, fail, skip }: CheckSummary): string {
  return `${ok} ok, ${warn} warnings, ${fail} failed, ${skip} skipped`;
}
