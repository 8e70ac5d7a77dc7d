/** Two keep a connection busy while an answer is worked on; one would pay the whole delay for every request. */
const PARALLEL_MIN = 2;
/** Where measuring starts: doubled from here it reaches any useful number within some requests. */
const PARALLEL_START = 4;
/** A measurement of less is chance. */
const EPOCH_MS_MIN = 200;
/** Each of the parallel requests should have come round more than once. */
const EPOCH_ROUNDS = 2;
/** More requests must bring at least this much more, or they only wait in the server's queue instead of ours. */
const WORTH_FACTOR = 1.08;
/** Networks and servers change: how long a result is trusted. */
const TRUST_MS = 10_000;

/**
 * How many requests to one server are worth having under way: as many as fill bandwidth × delay. Neither of the two can be
 * measured alone while requests queue up, so their product is found by trying: more requests are added for as long as
 * that brings more bytes per second, and taken back when it does not. A failure that may pass (an overloaded server)
 * halves the number.
 */
export class Parallelism {
  readonly #max: number;
  readonly #now: () => number;
  #target: number;
  #growing = true;
  #bestRate = 0;
  #bestTarget: number;
  #settledAt = 0;
  #halvedAtMs = 0;
  #inFlight = 0;
  #epochStart: number | undefined;
  #epochReads = 0;
  #epochBytes = 0;
  #epochFull = false;
  #rate = 0;
  #delayMs = 0;
  #epochDelayMs = Infinity;

  /** @param now milliseconds of a clock that never goes back */
  constructor(max: number, now: () => number = () => performance.now()) {
    this.#max = max;
    this.#now = now;
    this.#target = Math.min(PARALLEL_START, max);
    this.#bestTarget = this.#target;
  }

  /** Requests worth having under way. */
  get target(): number {
    return this.#target;
  }

  /** As last measured with all of `target` under way; 0 before. The delay is the shortest of a whole request. */
  get measured(): { readonly bytesPerSecond: number; readonly delayMs: number } {
    return { bytesPerSecond: this.#rate * 1000, delayMs: this.#delayMs };
  }

  begin(): void {
    this.#inFlight++;
    this.#epochStart ??= this.#now();
    if (this.#inFlight >= this.#target) this.#epochFull = true;
  }

  end(bytes: number, tookMs: number): void {
    this.#inFlight--;
    this.#epochReads++;
    this.#epochBytes += bytes;
    this.#epochDelayMs = Math.min(this.#epochDelayMs, tookMs);
    const elapsedMs = this.#now() - (this.#epochStart ?? this.#now());
    if (elapsedMs >= EPOCH_MS_MIN && this.#epochReads >= EPOCH_ROUNDS * this.#target) this.#endEpoch(elapsedMs);
  }

  /**
   * @param beganMs when the request began: of many that fail together only the first one counts
   * @param mayPass the same request may succeed later: the server may be overloaded
   */
  fail(beganMs: number, mayPass: boolean): void {
    this.#inFlight--;
    if (!mayPass || beganMs < this.#halvedAtMs) return;
    this.#halvedAtMs = this.#now();
    this.#settle(Math.max(Math.min(PARALLEL_MIN, this.#max), this.#target >> 1));
    this.#newEpoch();
  }

  #endEpoch(elapsedMs: number): void {
    const rate = this.#epochBytes / elapsedMs;
    const isFull = this.#epochFull;
    const delayMs = this.#epochDelayMs;
    this.#newEpoch();
    // Readers that ask for less than we could fetch say nothing about the server.
    if (!isFull) return;
    this.#rate = rate;
    this.#delayMs = delayMs;
    if (!this.#growing) {
      if (this.#now() - this.#settledAt >= TRUST_MS) this.#tryMore(rate);
    } else if (rate >= this.#bestRate * WORTH_FACTOR) {
      if (this.#target < this.#max) this.#tryMore(rate);
      else this.#settle(this.#target);
    } else {
      this.#settle(this.#bestTarget);
    }
  }

  #tryMore(rate: number): void {
    this.#bestRate = rate;
    this.#bestTarget = this.#target;
    this.#growing = true;
    this.#target = Math.min(this.#max, this.#target * 2);
  }

  #settle(target: number): void {
    this.#target = target;
    this.#growing = false;
    this.#settledAt = this.#now();
  }

  #newEpoch(): void {
    this.#epochStart = undefined;
    this.#epochReads = 0;
    this.#epochBytes = 0;
    this.#epochFull = false;
    this.#epochDelayMs = Infinity;
  }
}
