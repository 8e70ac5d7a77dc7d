import type { Logger } from "./log.js";

/** A line for each tenth of a task: enough to see that it moves, few enough to read. */
const STEP_PERCENT = 10;

/** Progress of tasks as log lines of level 4. */
export class ProgressLog {
  readonly #logger: Logger;
  #what = "";
  #step = -1;

  constructor(logger: Logger) {
    this.#logger = logger;
  }

  /** @param percent undefined: it is not known how far the task is */
  report(what: string, percent: number | undefined): void {
    const step = percent === undefined ? -1 : Math.floor(Math.min(percent, 100) / STEP_PERCENT);
    if (what === this.#what && step <= this.#step) return;
    this.#what = what;
    this.#step = step;
    this.#logger.progress(percent === undefined ? what : `${what}: ${Math.floor(percent)} %`);
  }
}
