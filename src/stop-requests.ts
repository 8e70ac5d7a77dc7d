/**
 * A signal that comes again so soon is the same request: timeout(1) sends it to the process and then to its whole group,
 * and a wrapper passes on what the terminal has sent to both.
 */
const SAME_REQUEST_MS = 500;

/** Tells signals that ask a process to stop from those that ask it not to clean up any longer. */
export class StopRequests {
  readonly #now: () => number;
  #firstAt: number | undefined;

  /** @param now milliseconds of a clock that nobody sets */
  constructor(now: () => number = () => performance.now()) {
    this.#now = now;
  }

  /** What the signal that has just come asks for. */
  next(): "stop" | "the same" | "force" {
    const now = this.#now();
    if (this.#firstAt === undefined) {
      this.#firstAt = now;
      return "stop";
    }
    return now - this.#firstAt < SAME_REQUEST_MS ? "the same" : "force";
  }
}
