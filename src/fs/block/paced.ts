import type { BlockSource } from "../../block-source.js";
import { VmmountError } from "../../errors.js";
import { filtered } from "./filter.js";
import type { Parallelism } from "./parallelism.js";

/** Lets `parallelism` learn from every read. `now` is a monotonic clock in milliseconds. */
export function paced(
  below: BlockSource,
  parallelism: Parallelism,
  now: () => number = performance.now.bind(performance),
): BlockSource {
  return filtered(below, {
    async read(into, at, options) {
      const begin = now();
      parallelism.begin();
      try {
        await below.read(into, at, options);
      } catch (error) {
        parallelism.fail(begin, !options.signal.aborted && error instanceof VmmountError && error.retryable);
        throw error;
      }
      parallelism.end(into.length, now() - begin);
    },
  });
}
