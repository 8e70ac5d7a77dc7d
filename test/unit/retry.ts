import t from "tap";
import { CancelledError, DiskIoError, UnreachableError, type VmmountError } from "../../src/errors.js";
import { retry, type RetryPolicy } from "../../src/retry.js";

const POLICY: RetryPolicy = { retriesMax: 3, delayMs: 0, delayMsMax: 0 };
const { signal } = new AbortController();
const passing = (): VmmountError => new UnreachableError("Cannot connect");
const lasting = (): VmmountError => new DiskIoError("Cannot read");

/** Fails with the given errors, then gives the attempt's number. */
function failing(...errors: Error[]) {
  const attempts: number[] = [];
  return {
    attempts,
    attempt: (number: number): Promise<number> => {
      attempts.push(number);
      const error = errors.shift();
      return error === undefined ? Promise.resolve(number) : Promise.reject(error);
    },
  };
}

void t.test("repeats what may pass, and tells so", async (t) => {
  const told: [string, number][] = [];
  const { attempt } = failing(passing(), passing());
  const onRetry = (error: VmmountError, number: number): void => void told.push([error.message, number]);
  t.equal(await retry(attempt, { policy: POLICY, signal, onRetry }), 2);
  t.strictSame(told, [
    ["Cannot connect", 1],
    ["Cannot connect", 2],
  ]);
});

void t.test("throws the last failure when the policy is exhausted", async (t) => {
  const { attempt, attempts } = failing(...Array.from({ length: 9 }, passing));
  await t.rejects(retry(attempt, { policy: POLICY, signal }), UnreachableError);
  t.strictSame(attempts, [0, 1, 2, 3]);
});

void t.test("never repeats what is final, a bug, or not allowed", async (t) => {
  for (const error of [lasting(), new TypeError("bug")]) {
    const { attempt, attempts } = failing(error);
    await t.rejects(retry(attempt, { policy: POLICY, signal }), error);
    t.strictSame(attempts, [0]);
  }
  const { attempt, attempts } = failing(passing());
  await t.rejects(retry(attempt, { policy: { ...POLICY, retriesMax: 0 }, signal }), UnreachableError);
  t.strictSame(attempts, [0]);
});

void t.test("isRetryable overrides the error", async (t) => {
  const yes = failing(lasting());
  t.equal(await retry(yes.attempt, { policy: POLICY, signal, isRetryable: () => true }), 1);
  const no = failing(passing());
  await t.rejects(retry(no.attempt, { policy: POLICY, signal, isRetryable: () => false }), UnreachableError);
});

void t.test("waits twice as long each time up to the maximum, with up to a quarter of jitter", async (t) => {
  const waits: number[] = [];
  const policy = { retriesMax: 4, delayMs: 1, delayMsMax: 4 };
  const { attempt } = failing(passing(), passing(), passing(), passing());
  await retry(attempt, { policy, signal, onRetry: (_, __, waitMs) => void waits.push(waitMs) });
  for (const [i, wanted] of [1, 2, 4, 4].entries()) {
    const wait = waits[i] ?? 0;
    t.ok(wait >= wanted && wait <= wanted * 1.25, `${wait} is about ${wanted}`);
  }
});

void t.test("an abort ends it: before, during the wait, and after an attempt", async (t) => {
  const reason = new CancelledError("Stopped", { signal: 15 });
  const before = failing();
  await t.rejects(retry(before.attempt, { policy: POLICY, signal: AbortSignal.abort(reason) }), reason);
  t.strictSame(before.attempts, []);

  const waiting = new AbortController();
  const { attempt } = failing(passing());
  const policy = { retriesMax: 1, delayMs: 3_600_000, delayMsMax: 3_600_000 };
  const onRetry = (): void => {
    queueMicrotask(() => {
      waiting.abort(reason);
    });
  };
  await t.rejects(retry(attempt, { policy, signal: waiting.signal, onRetry }), reason);

  const during = new AbortController();
  const attempted = retry(
    () => {
      during.abort(reason);
      return Promise.reject(passing());
    },
    { policy: POLICY, signal: during.signal },
  );
  await t.rejects(attempted, UnreachableError, "the failure that happened, not the abort");
});
