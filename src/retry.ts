import { setTimeout as delay } from "node:timers/promises";
import { unwrapAbort, VmmountError } from "./errors.js";

export interface RetryPolicy {
  /** Attempts after the first one; 0 = never again. */
  readonly retriesMax: number;
  readonly delayMs: number;
  /** The delay doubles up to this. */
  readonly delayMsMax: number;
}

export interface RetryOptions {
  readonly policy: RetryPolicy;
  readonly signal: AbortSignal;
  /** Called before each wait, with the failure that causes it. */
  readonly onRetry?: ((error: VmmountError, attempt: number, waitMs: number) => void) | undefined;
  /** Overrides the error's own `retryable`. */
  readonly isRetryable?: ((error: VmmountError) => boolean) | undefined;
}

/**
 * Runs `attempt` until it succeeds, fails for good, or the policy is exhausted; then throws the last failure. Whether
 * a failure is retryable was decided where it was translated. Delays get up to 25 % of jitter, so that many mounts do
 * not come back in step.
 */
export async function retry<T>(attempt: (attempt: number) => Promise<T>, options: RetryOptions): Promise<T> {
  const { policy, signal } = options;
  for (let number = 0; ; number++) {
    signal.throwIfAborted();
    try {
      return await attempt(number);
    } catch (error) {
      const final = !(error instanceof VmmountError) || !(options.isRetryable?.(error) ?? error.retryable);
      if (final || number >= policy.retriesMax || signal.aborted) throw unwrapAbort(error);
      const waitMs = Math.min(policy.delayMs * 2 ** number, policy.delayMsMax) * (1 + Math.random() / 4);
      options.onRetry?.(error, number + 1, waitMs);
      await delay(waitMs, undefined, { signal }).catch((aborted: unknown) => {
        throw unwrapAbort(aborted);
      });
    }
  }
}
