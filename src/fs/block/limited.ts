import pLimit, { type LimitFunction } from "p-limit";
import type { BlockSource } from "../../block-source.js";
import { filtered } from "./filter.js";

/** A bound on parallel reads; all disks of one server share one. */
export type ReadLimit = LimitFunction;

/** @throws TypeError when `parallelMax` is not an integer from 1 */
export function readLimit(parallelMax: number): ReadLimit {
  return pLimit(parallelMax);
}

/** Reads beyond the limit wait in order; one that is aborted while it waits is rejected at once and never starts. */
export function limited(below: BlockSource, limit: ReadLimit): BlockSource {
  return filtered(below, {
    async read(into, at, options) {
      const { signal } = options;
      signal.throwIfAborted();
      let leaveQueue: () => void = () => undefined;
      const aborted = new Promise<"aborted">((resolve) => {
        leaveQueue = (): void => {
          resolve("aborted");
        };
      });
      signal.addEventListener("abort", leaveQueue, { once: true });
      // Once a read has started only its own end counts: until then it may write into the caller's buffer.
      let reading: Promise<void> | undefined;
      const turn = limit(async () => {
        if (signal.aborted) return;
        reading = below.read(into, at, options);
        await reading;
      });
      try {
        await Promise.race([turn, aborted]);
        if (reading === undefined) signal.throwIfAborted();
        else await reading;
      } finally {
        signal.removeEventListener("abort", leaveQueue);
      }
    },
  });
}
