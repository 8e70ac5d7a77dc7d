import type { ErrorFacts } from "./errors.js";
import { printable } from "./printable.js";

/** A failure as the last line of stderr: one sentence that says what failed, on which object, why; then what to try. */
export function failureText(facts: ErrorFacts, form: "text" | "json"): string {
  if (form === "json") return `${printable(JSON.stringify(facts))}\n`;
  const hint = facts.hint === undefined ? "" : `. ${facts.hint}`;
  return `vmmount: ${printable(`${facts.message}${hint}`)}\n`;
}
