import t from "tap";
import { Line } from "../../../src/lab/line.js";

const RATE = 10_000_000;
const { signal } = new AbortController();

/** Sends pieces one after the other. @returns milliseconds */
async function send(line: Line, bytes: number): Promise<number> {
  const began = performance.now();
  for (let sent = 0; sent < bytes; sent += line.chunkBytes) await line.carry(line.chunkBytes, signal);
  return performance.now() - began;
}

void t.test("a line carries its rate, for one sender", async (t) => {
  const took = await send(new Line(RATE), RATE / 5);
  t.ok(took > 190, `a fifth of the bytes of a second take a fifth of a second (${took} ms)`);
  // Far from exact on a busy machine; a line that wakes late for every piece takes twice as long.
  t.ok(took < 350, `and not much more (${took} ms)`);
});

void t.test("several senders share it", async (t) => {
  const line = new Line(RATE);
  const took = await Promise.all([1, 2, 3, 4].map(() => send(line, RATE / 20)));
  t.ok(Math.max(...took) > 190, `all together take as long as one alone would (${took.join(", ")} ms)`);
  t.ok(Math.min(...took) > 150, "and nobody is served first");
});

void t.test("pieces are small on a slow line, and large on a fast one", (t) => {
  t.equal(new Line(1).chunkBytes, 16 * 1024);
  t.equal(new Line(125_000_000).chunkBytes, 250_000);
  t.equal(new Line(10_000_000_000).chunkBytes, 256 * 1024);
  t.end();
});

void t.test("who has gone does not wait", async (t) => {
  const gone = new AbortController();
  const line = new Line(1000);
  const waiting = line.carry(60_000, gone.signal);
  gone.abort();
  const began = performance.now();
  await waiting;
  t.ok(performance.now() - began < 1_000);
});
