/** A refusal soon after a rise doubles the wait for the next one, up to this many times the first. */
const WAIT_FACTOR_MAX = 16;

/**
 * How many requests the library has of one disk at a time: half as many when the host has no memory or no connection left, and one
 * more after a while without that. Memory of NFC belongs to the whole host: other jobs that end give it back.
 */
export class RequestDepth {
  readonly #max: number;
  readonly #riseAfterMs: number;
  readonly #now: () => number;
  #value: number;
  #changedAtMs = 0;
  #waitFactor = 1;
  #hasRisen = false;

  /** @param now milliseconds of a clock that never goes back */
  constructor(max: number, riseAfterMs: number, now: () => number = () => performance.now()) {
    this.#max = max;
    this.#riseAfterMs = riseAfterMs;
    this.#now = now;
    this.#value = max;
  }

  get value(): number {
    return this.#value;
  }

  lower(): void {
    this.#value = Math.max(1, Math.floor(this.#value / 2));
    if (this.#hasRisen) this.#waitFactor = this.#hasWaited() ? 1 : Math.min(WAIT_FACTOR_MAX, this.#waitFactor * 2);
    this.#hasRisen = false;
    this.#changedAtMs = this.#now();
  }

  /** One more, when it is time for that. @returns whether it is more */
  rise(): boolean {
    if (this.#value === this.#max || !this.#hasWaited()) return false;
    // The last one was not refused all this time.
    if (this.#hasRisen) this.#waitFactor = 1;
    this.#value++;
    this.#hasRisen = true;
    this.#changedAtMs = this.#now();
    return true;
  }

  #hasWaited(): boolean {
    return this.#now() - this.#changedAtMs >= this.#riseAfterMs * this.#waitFactor;
  }
}
