import type { Logger } from "./log.js";
import { retry, type RetryOptions } from "./retry.js";
import { type Settings, serverRetryPolicy } from "./settings.js";

export interface Asking {
  readonly settings: Settings;
  readonly logger: Logger;
  readonly signal: AbortSignal;
}

/** Repetitions of one call to a server, each of them told. @param what the call as a sentence begins: "Logging in" */
export function serverRetries(
  what: string,
  { policy, logger, signal }: Pick<RetryOptions, "policy" | "signal"> & { readonly logger: Logger },
): RetryOptions {
  return {
    policy,
    signal,
    onRetry: (error, attempt, waitMs) => {
      const wait = (waitMs / 1000).toFixed(0);
      logger.warn(`${what} failed (${error.message}); attempt ${attempt + 1} follows in ${wait} s`);
    },
  };
}

/**
 * Asks a server, again where it fails for a passing reason, as `retry.max` and `retry.backoff` say: a backup at night
 * does not end because of a server that restarts. Only for calls that change nothing.
 */
export function askAgain<T>(what: string, ask: () => Promise<T>, { settings, logger, signal }: Asking): Promise<T> {
  return retry(ask, serverRetries(what, { policy: serverRetryPolicy(settings), logger, signal }));
}
