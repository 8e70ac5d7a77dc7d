import type { BlockSource } from "../../block-source.js";
import { DiskIoError, unwrapAbort } from "../../errors.js";
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

interface Failure {
  readonly error: unknown;
  /** Bytes that were asked for. */
  readonly length: number;
  readonly until: number;
}

/** Answers the repetition of a read that has just failed for good with the same failure, without asking `below`. */
export function failingFast(
  below: BlockSource,
  { now = () => performance.now() }: FailingFastOptions = {},
): BlockSource {
  const failures = new Map<number, Failure>();
  return filtered(below, {
    read: async (into, at, options) => {
      const known = failures.get(at);
      if (known !== undefined && now() < known.until && isSame(known, into.length)) {
        options.signal.throwIfAborted();
        throw known.error;
      }
      try {
        await below.read(into, at, options);
        if (known === undefined || into.length >= known.length) failures.delete(at);
      } catch (thrown) {
        // Who gave up says nothing about the disk.
        if (!options.signal.aborted) {
          const time = now();
          for (const [old, { until }] of failures) if (until <= time) failures.delete(old);
          failures.set(at, { error: unwrapAbort(thrown), length: into.length, until: time + REMEMBERED_MS });
        }
        throw thrown;
      }
    },
  });
}

/** A shorter read may end before the place on the disk that cannot be read; a server that is gone does not answer it either. */
function isSame({ error, length }: Failure, asked: number): boolean {
  return asked >= length || !(error instanceof DiskIoError);
}
