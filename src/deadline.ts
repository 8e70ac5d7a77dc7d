import type { VmmountError } from "./errors.js";

/**
 * A signal that aborts after `timeoutMs` with an error of ours: `AbortSignal.timeout` would abort with a DOMException,
 * which tells the user nothing. The timer does not keep the process alive.
 */
export function deadline(timeoutMs: number, error: () => VmmountError): AbortSignal {
  const controller = new AbortController();
  // setTimeout fires at once for delays beyond 2^31 - 1 ms (24 days).
  setTimeout(
    () => {
      controller.abort(error());
    },
    Math.min(timeoutMs, 2 ** 31 - 1),
  ).unref();
  return controller.signal;
}
