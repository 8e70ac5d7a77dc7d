import t from "tap";
import { Parallelism } from "../../../../src/fs/block/parallelism.js";

const REQUEST = 1_000_000;

/**
 * A server behind a line of `bytesPerMs` and with `delayMs` for each request, asked with as many requests as are said to be
 * worth it, for `forMs`. Requests share the line one after the other.
 */
function converse(
  parallelism: Parallelism,
  clock: { ms: number },
  line: { bytesPerMs: number; delayMs: number },
  forMs: number,
) {
  const until = clock.ms + forMs;
  let lineFreeMs = clock.ms;
  const flying: { beganMs: number; endsMs: number }[] = [];
  while (clock.ms < until) {
    while (flying.length < parallelism.target) {
      lineFreeMs = Math.max(lineFreeMs, clock.ms + line.delayMs) + REQUEST / line.bytesPerMs;
      parallelism.begin();
      flying.push({ beganMs: clock.ms, endsMs: lineFreeMs });
    }
    const next = flying.shift();
    if (next === undefined) return;
    clock.ms = next.endsMs;
    parallelism.end(REQUEST, clock.ms - next.beganMs);
  }
  for (const { beganMs } of flying) parallelism.end(REQUEST, clock.ms - beganMs);
}

function setUp(max: number) {
  const clock = { ms: 1000 };
  return { clock, parallelism: new Parallelism(max, () => clock.ms) };
}

void t.test("where more requests bring more, as many as are allowed", (t) => {
  const { clock, parallelism } = setUp(16);
  t.equal(parallelism.target, 4);
  // 1 GB/s and 20 ms: 20 MB would have to be under way.
  converse(parallelism, clock, { bytesPerMs: 1_000_000, delayMs: 20 }, 5000);
  t.equal(parallelism.target, 16);
  const { bytesPerSecond, delayMs } = parallelism.measured;
  t.ok(bytesPerSecond > 700e6 && bytesPerSecond < 1000e6, `${bytesPerSecond} bytes/s`);
  t.ok(delayMs >= 20, `${delayMs} ms`);
  t.end();
});

void t.test("where the line is full, no more", (t) => {
  const { clock, parallelism } = setUp(64);
  // 125 MB/s and 5 ms: one request takes 8 ms of the line, so two fill it.
  converse(parallelism, clock, { bytesPerMs: 125_000, delayMs: 5 }, 9000);
  t.equal(parallelism.target, 4);
  t.end();
});

void t.test("when the line changes, so does the number", (t) => {
  const { clock, parallelism } = setUp(16);
  converse(parallelism, clock, { bytesPerMs: 125_000, delayMs: 5 }, 5000);
  t.equal(parallelism.target, 4);
  converse(parallelism, clock, { bytesPerMs: 1_000_000, delayMs: 20 }, 60_000);
  t.equal(parallelism.target, 16);
  t.end();
});

void t.test("a failure that may pass halves the number, and it recovers; any other failure says nothing", (t) => {
  const { clock, parallelism } = setUp(16);
  const line = { bytesPerMs: 1_000_000, delayMs: 20 };
  converse(parallelism, clock, line, 5000);
  parallelism.begin();
  parallelism.fail(clock.ms, false);
  t.equal(parallelism.target, 16);
  for (const expected of [8, 4, 2, 2]) {
    clock.ms += 10;
    const beganMs = clock.ms;
    for (let together = 0; together < 5; together++) parallelism.begin();
    clock.ms += 10;
    for (let together = 0; together < 5; together++) parallelism.fail(beganMs, true);
    t.equal(parallelism.target, expected, "failures of one moment count once");
  }
  converse(parallelism, clock, line, 60_000);
  t.equal(parallelism.target, 16);
  t.end();
});

void t.test("readers that ask for little change nothing", (t) => {
  const { clock, parallelism } = setUp(16);
  for (let i = 0; i < 100; i++) {
    parallelism.begin();
    clock.ms += 50;
    parallelism.end(4096, 50);
  }
  t.equal(parallelism.target, 4);
  t.strictSame(parallelism.measured, { bytesPerSecond: 0, delayMs: 0 });
  t.end();
});

void t.test("one request at a time stays one", (t) => {
  const { clock, parallelism } = setUp(1);
  converse(parallelism, clock, { bytesPerMs: 1_000_000, delayMs: 20 }, 5000);
  t.equal(parallelism.target, 1);
  parallelism.begin();
  parallelism.fail(clock.ms, true);
  t.equal(parallelism.target, 1);
  t.end();
});
