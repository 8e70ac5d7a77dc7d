import { errorFacts, UnreachableError } from "../errors.js";
import { failed, type Finding } from "./finding.js";

/** One question to a server or a disk. A live one answers within seconds; a dead one must not keep the others from being told. */
const QUESTION_MS = 30_000;

type Answer = Finding | readonly Finding[];

/**
 * Asks one question, for no longer than `timeoutMs`.
 * @returns the answer, or the failure as an answer of its own
 * @throws the reason of `signal` when the caller has given up
 */
export async function bounded(
  id: string,
  signal: AbortSignal,
  ask: (signal: AbortSignal) => Promise<Answer>,
  timeoutMs = QUESTION_MS,
): Promise<readonly Finding[]> {
  try {
    return [await within(timeoutMs, signal, ask)].flat();
  } catch (error) {
    signal.throwIfAborted();
    return [failed(id, errorFacts(error))];
  }
}

/**
 * Ends with the signal or the time, also where the work itself does not listen: a dead file system gives no thread back, and
 * goes on behind our back. The timer keeps the process: something must, until there is an answer.
 * @throws UnreachableError when the time is over
 */
export async function within<T>(
  timeoutMs: number,
  signal: AbortSignal,
  work: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  signal.throwIfAborted();
  const late = new AbortController();
  const timer = setTimeout(() => {
    late.abort(new UnreachableError(`There was no answer within ${timeoutMs / 1000} s`));
  }, timeoutMs);
  const either = AbortSignal.any([signal, late.signal]);
  try {
    return await Promise.race([
      work(either),
      new Promise<never>((_, reject) => {
        const onAbort = (): void => {
          reject(either.reason as Error);
        };
        either.addEventListener("abort", onAbort, { once: true });
      }),
    ]);
  } finally {
    clearTimeout(timer);
  }
}
