import type { ExitName } from "../exit-codes.js";
import type { Finding } from "./finding.js";

/**
 * Which failure a check that found several exits with: the first of these that there is, since what stands before keeps what
 * stands behind from being looked at. docs/OPERATIONS.md prints the same order.
 */
export const GRAVITY: readonly ExitName[] = [
  "internal",
  "auth",
  "connect",
  "config",
  "usage",
  "not-found",
  "ambiguous",
  "refused",
  "unavailable",
  "space",
  "snapshot",
  "quiesce",
  "io",
  "data",
  "busy",
  "leftover",
];

/** @returns undefined when nothing failed */
export function gravest(findings: readonly Pick<Finding, "state" | "exit">[]): ExitName | undefined {
  const exits = new Set(findings.flatMap(({ state, exit }) => (state === "fail" && exit !== undefined ? [exit] : [])));
  return GRAVITY.find((name) => exits.has(name)) ?? [...exits][0];
}
