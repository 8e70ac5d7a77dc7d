import type { BlockSource } from "../../block-source.js";
import { unwrapAbort } from "../../errors.js";
import { filtered } from "./filter.js";

/**
 * How long a read that failed for good fails again at once. The kernel asks twice, first as read-ahead and then for the
 * page that the reader waits for: without this the reader would wait for two rounds of retries. An agent that tries
 * again later gets a real attempt.
 */
const REMEMBERED_MS = 5_000;

export interface FailingFastOptions {
  /** In milliseconds, never backwards. */
  readonly now?: () => number;
}

/** Answers the repetition of a read that has just failed for good with the same failure, without asking `below`. */
export function failingFast(
  below: BlockSource,
  { now = () => performance.now() }: FailingFastOptions = {},
): BlockSource {
  const failures = new Map<number, { readonly error: unknown; readonly until: number }>();
  return filtered(below, {
    read: async (into, at, options) => {
      const known = failures.get(at);
      if (known !== undefined && now() < known.until) {
        options.signal.throwIfAborted();
        throw known.error;
      }
      try {
        await below.read(into, at, options);
        failures.delete(at);
      } catch (thrown) {
        // Who gave up says nothing about the disk.
        if (!options.signal.aborted) {
          const time = now();
          for (const [old, { until }] of failures) if (until <= time) failures.delete(old);
          failures.set(at, { error: unwrapAbort(thrown), until: time + REMEMBERED_MS });
        }
        throw thrown;
      }
    },
  });
}
