import { createRequire } from "node:module";
import type CliTable from "cli-table3";
import prettyBytes from "pretty-bytes";
import { printable } from "../printable.js";

/** Where answers go: stdout for the answer, stderr for everything else. */
export interface Terminal {
  readonly out: (text: string) => void;
  readonly err: (text: string) => void;
  /** stderr is a terminal: progress and colours are welcome. */
  readonly isInteractive: boolean;
  readonly json: boolean;
}

/** One answer: a JSON object for programs, or text for people. */
export function answer(terminal: Terminal, json: object, text: () => string): void {
  // In JSON the escapes are JSON's own. In text, line breaks of names are escaped by who knows them from ours.
  const shown = terminal.json
    ? printable(JSON.stringify(json))
    : text().replace(/\n*$/, "").split("\n").map(printable).join("\n");
  terminal.out(`${shown}\n`);
}

const NO_BORDERS = {
  ...Object.fromEntries(
    ["top", "bottom", "left", "right", "mid"].flatMap((side) =>
      ["", "-mid", "-left", "-right"].map((part) => [`${side}${part}`, ""]),
    ),
  ),
  "mid-mid": "",
  middle: "  ",
};

/** Loaded with the first table: a mount starts its daemon before it prints anything. */
const load = createRequire(import.meta.url);

/** Columns without borders, so that `awk` and eyes both find them; empty rows give the bare header. */
export function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const Table = load("cli-table3") as typeof CliTable;
  const drawn = new Table({
    head: [...head],
    chars: NO_BORDERS,
    style: { head: [], border: [], "padding-left": 0, "padding-right": 0 },
  });
  for (const row of rows) drawn.push(row.map(printable));
  return drawn
    .toString()
    .split("\n")
    .map((line) => line.trimEnd())
    .join("\n");
}

/** `8 GiB` */
export function size(bytes: number): string {
  return prettyBytes(bytes, { binary: true });
}

const RED = "\u001b[31m";
const YELLOW = "\u001b[33m";
const PLAIN = "\u001b[0m";

/** Colours a word on a terminal only. */
export function paint(terminal: Pick<Terminal, "isInteractive">, colour: "red" | "yellow", text: string): string {
  return terminal.isInteractive ? `${colour === "red" ? RED : YELLOW}${text}${PLAIN}` : text;
}
