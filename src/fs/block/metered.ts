import type { BlockSource } from "../../block-source.js";
import { filtered } from "./filter.js";

export interface MeterReading {
  /** Reads that ended well, and their bytes. */
  readonly reads: number;
  readonly bytes: number;
  readonly errors: number;
  /** Reads that the caller gave up. */
  readonly aborted: number;
  readonly inFlight: number;
  readonly inFlightMax: number;
  /** Of reads that ended well, from call to last byte. */
  readonly latencyMsMean: number;
  readonly latencyMsMax: number;
}

/** Counts what passes through one or several sources. */
export class ReadMeter {
  #reads = 0;
  #bytes = 0;
  #errors = 0;
  #aborted = 0;
  #inFlight = 0;
  #inFlightMax = 0;
  #latencyMsSum = 0;
  #latencyMsMax = 0;

  get reading(): MeterReading {
    return {
      reads: this.#reads,
      bytes: this.#bytes,
      errors: this.#errors,
      aborted: this.#aborted,
      inFlight: this.#inFlight,
      inFlightMax: this.#inFlightMax,
      latencyMsMean: this.#reads === 0 ? 0 : this.#latencyMsSum / this.#reads,
      latencyMsMax: this.#latencyMsMax,
    };
  }

  begin(): void {
    this.#inFlight++;
    this.#inFlightMax = Math.max(this.#inFlightMax, this.#inFlight);
  }

  succeed(bytes: number, latencyMs: number): void {
    this.#inFlight--;
    this.#reads++;
    this.#bytes += bytes;
    this.#latencyMsSum += latencyMs;
    this.#latencyMsMax = Math.max(this.#latencyMsMax, latencyMs);
  }

  fail(why: "error" | "aborted"): void {
    this.#inFlight--;
    if (why === "error") this.#errors++;
    else this.#aborted++;
  }
}

/** Reports every read to `meter`. `now` is a monotonic clock in milliseconds. */
export function metered(
  below: BlockSource,
  meter: ReadMeter,
  now: () => number = performance.now.bind(performance),
): BlockSource {
  return filtered(below, {
    async read(into, at, options) {
      const begin = now();
      meter.begin();
      try {
        await below.read(into, at, options);
      } catch (error) {
        meter.fail(options.signal.aborted ? "aborted" : "error");
        throw error;
      }
      meter.succeed(into.length, now() - begin);
    },
  });
}
