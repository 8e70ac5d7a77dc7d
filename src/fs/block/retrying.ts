import type { BlockSource, Extent } from "../../block-source.js";
import { DiskIoError, type VmmountError } from "../../errors.js";
import { retry, type RetryPolicy } from "../../retry.js";
import { bytes, type Bytes } from "../../units.js";
import { filtered } from "./filter.js";

/** Longer timers of Node fire at once. */
const TIMER_MS_MAX = 2 ** 31 - 1;

export interface RetryingOptions {
  /** Each read has these attempts of its own. */
  readonly policy: RetryPolicy;
  /** A read and its retries together: the reader waits in the kernel for as long and cannot be interrupted by all. */
  readonly deadlineMs: number;
  readonly onRetry?: ((error: VmmountError, attempt: number, waitMs: number) => void) | undefined;
}

/** Repeats a failed read when its error says that the same read may succeed later. */
export function retrying(below: BlockSource, options: RetryingOptions): BlockSource {
  const extents = below.extents?.bind(below);
  return filtered(below, {
    read: (into, at, { signal }) => readWithinDeadline(below, { into, at, signal }, options),
    ...(extents === undefined
      ? {}
      : { extents: (from, length, { signal }) => resumedExtents(extents, { from, length, signal }, options) }),
  });
}

interface ReadCall {
  readonly into: Uint8Array;
  readonly at: Bytes;
  readonly signal: AbortSignal;
}

async function readWithinDeadline(below: BlockSource, call: ReadCall, options: RetryingOptions): Promise<void> {
  const { into, at, signal } = call;
  signal.throwIfAborted();
  // By hand: AbortSignal.any() of Node 20 keeps every derived signal alive as long as a long-lived source.
  const bounded = new AbortController();
  const onAbort = (): void => {
    bounded.abort(signal.reason);
  };
  let lastFailure: VmmountError | undefined;
  const onDeadline = (): void => {
    const what = `Cannot read ${into.length} bytes at ${at}: no success within ${options.deadlineMs / 1000} s`;
    bounded.abort(new DiskIoError(what, { cause: lastFailure }));
  };
  signal.addEventListener("abort", onAbort, { once: true });
  const timer = setTimeout(onDeadline, Math.min(options.deadlineMs, TIMER_MS_MAX));
  try {
    await retry(() => below.read(into, at, { signal: bounded.signal }), {
      policy: options.policy,
      signal: bounded.signal,
      onRetry: (error, attempt, waitMs) => {
        lastFailure = error;
        options.onRetry?.(error, attempt, waitMs);
      },
    });
  } finally {
    clearTimeout(timer);
    signal.removeEventListener("abort", onAbort);
  }
}

/** A walk that fails goes on where it stopped: starting over would repeat extents already handed out. */
async function* resumedExtents(
  extents: NonNullable<BlockSource["extents"]>,
  walk: { readonly from: Bytes; readonly length: Bytes; readonly signal: AbortSignal },
  options: RetryingOptions,
): AsyncGenerator<Extent, void, undefined> {
  const { signal } = walk;
  const end = walk.from + walk.length;
  let at: number = walk.from;
  let rest: AsyncIterator<Extent> | undefined;
  const step = async (): Promise<IteratorResult<Extent, unknown>> => {
    rest ??= extents(bytes(at), bytes(end - at), { signal })[Symbol.asyncIterator]();
    try {
      return await rest.next();
    } catch (error) {
      rest = undefined;
      throw error;
    }
  };
  try {
    while (at < end) {
      const next = await retry(step, { policy: options.policy, signal, onRetry: options.onRetry });
      if (next.done === true) return;
      at = next.value.start + next.value.length;
      yield next.value;
    }
  } finally {
    await rest?.return?.();
  }
}
