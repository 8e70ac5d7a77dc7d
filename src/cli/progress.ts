import { Presets, SingleBar } from "cli-progress";
import { printable } from "../printable.js";
import type { Terminal } from "./output.js";

/** Shows a long task on a terminal; silent in a log. */
export class ProgressLine {
  readonly #terminal: Terminal;
  #bar: SingleBar | undefined;
  #what = "";

  constructor(terminal: Terminal) {
    this.#terminal = terminal;
  }

  readonly report = (what: string, percent: number | undefined): void => {
    if (!this.#terminal.isInteractive || this.#terminal.json) return;
    if (this.#what !== what) this.stop();
    this.#what = what;
    if (percent === undefined) return;
    this.#bar ??= this.#start(what);
    this.#bar.update(Math.min(percent, 100));
  };

  /** Gives the line back before anything else is printed. */
  stop(): void {
    this.#bar?.stop();
    this.#bar = undefined;
  }

  #start(what: string): SingleBar {
    const bar = new SingleBar(
      {
        format: `${printable(what)} [{bar}] {percentage}%`,
        stream: process.stderr,
        clearOnComplete: true,
        hideCursor: true,
      },
      Presets.shades_classic,
    );
    bar.start(100, 0);
    return bar;
  }
}
