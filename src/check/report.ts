import type { ExitName } from "../exit-codes.js";
import type { Finding, FindingState } from "./finding.js";
import { gravest } from "./gravity.js";

/** What was looked at: this host, a server by its name, or a VM by its path. */
export interface Subject {
  readonly kind: "host" | "server" | "vm";
  readonly name: string;
}

export interface Check extends Finding {
  readonly subject: Subject;
}

export interface CheckSummary extends Readonly<Record<FindingState, number>> {
  /** Of the gravest failure; undefined when nothing failed. */
  readonly exit: ExitName | undefined;
}

export interface CheckReport {
  readonly checks: readonly Check[];
  readonly summary: CheckSummary;
}

export function about(subject: Subject, findings: readonly Finding[]): Check[] {
  return findings.map((finding) => ({ ...finding, subject }));
}

export function toReport(checks: readonly Check[]): CheckReport {
  const count = (state: FindingState): number => checks.filter((check) => check.state === state).length;
  const summary = { ok: count("ok"), warn: count("warn"), fail: count("fail"), skip: count("skip") };
  return { checks, summary: { ...summary, exit: gravest(checks) } };
}
