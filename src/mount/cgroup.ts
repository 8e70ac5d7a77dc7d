import { execFile } from "node:child_process";
import { stat } from "node:fs/promises";
import { promisify } from "node:util";
import { errorChain } from "../errors.js";
import type { Logger } from "../log.js";

const run = promisify(execFile);

/** systemd answers in milliseconds; a hung bus must not hold up a backup. */
const BUS_TIMEOUT_MS = 5000;

/**
 * Moves the daemon into a systemd scope of its own, where systemd runs: a backup agent's unit kills everything in its
 * control group when it is restarted, and would kill mounts that its pre-script made.
 *
 * StartTransientUnit of org.freedesktop.systemd1.Manager with the property PIDs moves a running process, which a
 * wrapper such as systemd-run cannot. Failure costs only that protection, so it is a log line.
 */
export async function leaveCgroup(
  pid: number,
  session: string,
  logger: Logger,
  systemd = "/run/systemd/system",
): Promise<void> {
  const isThere = await stat(systemd).then(
    () => true,
    () => false,
  );
  if (!isThere) return;
  try {
    await run("busctl", scopeArguments(pid, session), { timeout: BUS_TIMEOUT_MS });
    logger.debug(`The mount daemon runs in scope vmmount-${session}.scope`);
  } catch (error) {
    logger.debug(`The mount daemon stays in the caller's control group: ${errorChain(error)}`);
  }
}

/** busctl(1) syntax: signature "ssa(sv)a(sa(sv))" = unit name, mode, properties, auxiliary units. */
export function scopeArguments(pid: number, session: string): string[] {
  const manager = ["org.freedesktop.systemd1", "/org/freedesktop/systemd1", "org.freedesktop.systemd1.Manager"];
  const properties = ["2", "PIDs", "au", "1", String(pid), "Description", "s", `vmmount session ${session}`];
  return [
    "call",
    ...manager,
    "StartTransientUnit",
    "ssa(sv)a(sa(sv))",
    `vmmount-${session}.scope`,
    "fail",
    ...properties,
    "0",
  ];
}
