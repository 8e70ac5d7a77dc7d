import t from "tap";
import { deadline } from "../../src/deadline.js";
import { UnreachableError } from "../../src/errors.js";
import { once } from "node:events";

void t.test("deadline() aborts with an error of ours", async (t) => {
  const error = new UnreachableError("It took too long");
  const signal = deadline(1, () => error);
  // The deadline keeps no process alive: something else has to.
  const alive = setInterval(() => undefined, 1000);
  t.teardown(() => {
    clearInterval(alive);
  });
  await once(signal, "abort");
  t.equal(signal.reason, error);
});

void t.test("deadline() does not fire at once for times that a timer cannot hold", async (t) => {
  let made = 0;
  const signals = [2 ** 31, 2 ** 40, Number.MAX_SAFE_INTEGER].map((ms) =>
    deadline(ms, () => {
      made++;
      return new UnreachableError("too early");
    }),
  );
  const later = deadline(5, () => new UnreachableError("now"));
  const alive = setInterval(() => undefined, 1000);
  t.teardown(() => {
    clearInterval(alive);
  });
  await once(later, "abort");
  t.equal(made, 0);
  t.notOk(signals.some(({ aborted }) => aborted));
});
