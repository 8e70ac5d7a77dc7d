import type { LogRecord } from "../log.js";
import { printable } from "../printable.js";
import { paint, type Terminal } from "./output.js";

/** A log record as a line for people: `vmmount: warning: …`. Fields follow from level 5 (API calls) on. */
export function logLine(json: string, terminal: Terminal): string {
  const { level, msg, vmName, ...rest } = JSON.parse(json) as LogRecord;
  const label =
    level === "error"
      ? `${paint(terminal, "red", "error")}: `
      : level === "warn"
        ? `${paint(terminal, "yellow", "warning")}: `
        : level === "debug" || level === "trace"
          ? `${level}: `
          : "";
  const fields = Object.fromEntries(Object.entries(rest).filter(([name]) => name !== "time" && name !== "pid"));
  const isDetailed = (level === "debug" || level === "trace") && Object.keys(fields).length > 0;
  // Of one VM among several.
  const of = typeof vmName === "string" ? `${printable(vmName)}: ` : "";
  return `vmmount: ${label}${of}${printable(msg)}${isDetailed ? ` ${printable(JSON.stringify(fields))}` : ""}\n`;
}
