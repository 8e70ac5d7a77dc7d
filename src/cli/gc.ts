import type { Command } from "commander";
import { createInterface } from "node:readline/promises";
import { UsageError, VmmountError } from "../errors.js";
import { EXIT_CODES } from "../exit-codes.js";
import type { GcReport, GcRow } from "../gc/report.js";
import { parseDurationMs } from "../units.js";
import { type CommonOptions, withCommonOptions } from "./common-options.js";
import type { ProcessEdge } from "./context.js";
import { answer, table } from "./output.js";

interface GcFlags extends CommonOptions {
  readonly dryRun?: boolean;
  readonly olderThan?: number;
  readonly allHosts?: boolean;
  readonly consolidate?: boolean;
  readonly yes?: boolean;
}

const EXAMPLES = `
Examples:
  vmmount gc                             clean up after dead sessions, here and on every configured server
  vmmount gc --dry-run                   show what that would do
  vmmount gc vc1 --older-than 2d         one server, and nothing that is younger
  vmmount gc --all-hosts --yes           also what other hosts made and is past its maximum age; does not ask
  vmmount gc --json | jq '.rows[] | select(.action == "failed")'

Exit codes: 0 nothing is left that should not be; 76 something is, or would be removed without --dry-run; 81 a server could
not be asked. Only snapshots whose name and description both carry vmmount's mark are ever removed, and what a restore into a
Xen pool began here and cannot have finished.`;

export function addGc(program: Command, edge: ProcessEdge): void {
  const command = program
    .command("gc")
    .summary("clean up what dead mounts left")
    .description(
      "Recovers the dead sessions of this host, and removes from the servers snapshots of dead or expired mounts, and half VMs of dead restores.",
    )
    .argument("[servers...]", "configured servers or URLs; default: all that are configured")
    .option("-n, --dry-run", "show what would be done, and change nothing")
    .option("--older-than <duration>", "leave alone what is younger: 12h, 7d", duration)
    .option("--all-hosts", "also what other hosts made, past its maximum age or --older-than")
    .option("--consolidate", "merge the delta files of every VM that needs it")
    .option("-y, --yes", "do not ask; without a terminal nothing is asked anyway")
    .addHelpText("after", EXAMPLES);
  withCommonOptions(command, "a server").action(async (servers: string[], flags: GcFlags) => {
    const { createContext } = await import("./context.js");
    const { collectGarbage } = await import("../gc/collect.js");
    const context = createContext(edge, flags);
    const confirm = async (count: number): Promise<boolean> => {
      context.progress.stop();
      if (flags.yes === true || flags.json === true || !edge.canPrompt) return true;
      return await ask(`Clean up ${count} ${count === 1 ? "leftover" : "leftovers"}? [y/N] `, edge.signal);
    };
    const options = {
      ...context,
      servers,
      rules: { allHosts: flags.allHosts === true, olderThanMs: flags.olderThan },
      dryRun: flags.dryRun === true,
      consolidate: flags.consolidate === true,
      onProgress: context.progress.report,
    };
    try {
      const report = await collectGarbage(options, confirm);
      context.progress.stop();
      const { summary, failure } = await judged(report);
      answer(context.terminal, { ...report, summary }, () => describe(report, summary));
      if (failure !== undefined) throw failure;
    } finally {
      context.progress.stop();
    }
  });
}

function duration(text: string): number {
  try {
    return parseDurationMs(text);
  } catch (error) {
    throw new UsageError((error as Error).message, { cause: error });
  }
}

/** On the terminal of a person. */
async function ask(question: string, signal: AbortSignal): Promise<boolean> {
  const reader = createInterface({ input: process.stdin, output: process.stderr });
  try {
    return /^y(es)?$/i.test((await reader.question(question, { signal })).trim());
  } catch (error) {
    signal.throwIfAborted();
    throw error;
  } finally {
    reader.close();
  }
}

interface Summary {
  readonly removed: number;
  readonly wouldRemove: number;
  readonly left: number;
  readonly failed: number;
  readonly unasked: number;
  readonly exitCode: number;
}

async function judged(report: GcReport): Promise<{ summary: Summary; failure: VmmountError | undefined }> {
  const { countActions, exitOf } = await import("../gc/report.js");
  const { "would-remove": wouldRemove, ...counts } = countActions(report);
  const exit = exitOf(report);
  const summary = { ...counts, wouldRemove, exitCode: EXIT_CODES[exit].code };
  if (exit === "ok") return { summary, failure: undefined };
  const named = report.rows
    .filter(({ action }) => ["failed", "would-remove", "unasked"].includes(action))
    .map(({ name, vm }) => (vm === null ? name : `${name} of ${vm}`))
    .join(", ");
  const what =
    exit === "partial"
      ? "Some servers could not be asked"
      : report.dryRun
        ? "Something would be removed"
        : "Something is left";
  const hint = report.dryRun ? "Run it without --dry-run" : "Run it again when what the table says is solved";
  return { summary, failure: new VmmountError(`${what}: ${named}`, exit, { hint }) };
}

const ACTIONS: Readonly<Record<GcRow["action"], string>> = {
  removed: "removed",
  "would-remove": "would remove",
  left: "left",
  failed: "FAILED",
  unasked: "NOT ASKED",
};

function describe({ rows }: GcReport, summary: Summary): string {
  if (rows.length === 0) return "Nothing is left behind";
  const shown = rows.map((row) => [
    ACTIONS[row.action],
    row.kind,
    row.server,
    row.vm ?? "",
    row.name,
    row.ageSeconds === null ? "" : age(row.ageSeconds),
    row.reason,
  ]);
  const { removed, wouldRemove, left, failed, unasked } = summary;
  const counts = [
    [removed, "removed"],
    [wouldRemove, "would be removed"],
    [left, "left alone"],
    [failed, "failed"],
    [unasked, "not asked"],
  ] as const;
  const total = counts.filter(([count]) => count > 0).map(([count, word]) => `${count} ${word}`);
  return `${table(["ACTION", "WHAT", "SERVER", "VM", "NAME", "AGE", "WHY"], shown)}\n${total.join(", ")}`;
}

function age(seconds: number): string {
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min`;
  return seconds < 2 * 86_400 ? `${Math.floor(seconds / 3600)} h` : `${Math.floor(seconds / 86_400)} d`;
}
