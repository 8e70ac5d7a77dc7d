import type { Command } from "commander";
import type { SessionStatus } from "../mount/control-protocol.js";
import type { SessionReport } from "../mount/session-status.js";
import { printable } from "../printable.js";
import { type CommonOptions, withCommonOptions } from "./common-options.js";
import type { ProcessEdge } from "./context.js";
import { answer, size, table } from "./output.js";

const EXAMPLES = `
Examples:
  vmmount status
  vmmount status --json | jq '.sessions[] | select(.alive | not)'     what needs a "vmmount umount"`;

export function addStatus(program: Command, edge: ProcessEdge): void {
  const command = program
    .command("status")
    .summary("show the mounts of this host")
    .description("Shows every mount session of this host: where, what, since when, and how much was read.")
    .addHelpText("after", EXAMPLES);
  withCommonOptions(command, "this host only").action(async (flags: CommonOptions) => {
    const { createContext } = await import("./context.js");
    const { reportSessions } = await import("../mount/session-status.js");
    const context = createContext(edge, flags);
    const sessions = await reportSessions(context.paths);
    answer(context.terminal, { sessions }, () => (sessions.length === 0 ? "Nothing is mounted" : describe(sessions)));
  });
}

function describe(sessions: readonly SessionReport[]): string {
  const rows = sessions.map((one) => [
    one.session,
    one.mountPoint ?? "?",
    one.vm?.path ?? "?",
    one.startedAt ?? "?",
    one.alive ? one.state : `DEAD (${one.state})`,
    one.alive ? size(one.traffic.servedBytes) : "",
    one.alive ? size(one.traffic.fetchedBytes) : "",
    one.alive ? String(one.traffic.openFiles) : "",
  ]);
  const notes = sessions.flatMap((one) => {
    if (!one.alive) return [`Session ${one.session}: ${printable(one.problem)}; run "vmmount umount ${one.session}"`];
    const own = [`Session ${one.session} is served by ${printable(one.driver)}`];
    own.push(...transportNotes(one));
    if (one.degraded !== undefined) {
      own.push(`Session ${one.session} is degraded: reading ${printable(one.degraded)}`);
    }
    if (one.traffic.passthroughFiles > 0) {
      const count = one.traffic.passthroughFiles;
      own.push(`Session ${one.session}: the kernel reads ${count} local files by itself, which READ does not count`);
    }
    return own;
  });
  return [table(["SESSION", "MOUNT POINT", "VM", "SINCE", "STATE", "READ", "FETCHED", "OPEN"], rows), ...notes].join(
    "\n",
  );
}

/** Only where there was a choice: over what disks are read, and why not over what was wanted more. */
function transportNotes({ session, disks }: SessionStatus): string[] {
  return disks.flatMap(({ node, transport, refused = [] }) => {
    if (transport === undefined || refused.length === 0) return [];
    const reasons = refused.map((one) => `not over ${one.transport}: ${one.reason}`).join("; ");
    return [`Session ${session}: ${node} is read over ${transport}, ${printable(reasons)}`];
  });
}
