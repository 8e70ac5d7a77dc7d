import t from "tap";
import type { CachedSource } from "../../../../src/fs/block/cached.js";
import { Stream } from "../../../../src/fs/block/stream.js";
import { bytes, KIB, MIB } from "../../../../src/units.js";

const below: CachedSource = {
  size: bytes(100 * MIB),
  blockBytes: MIB,
  read: () => Promise.resolve(),
  readAs: () => Promise.resolve("hit"),
  prefetch: () => "there",
  [Symbol.asyncDispose]: () => Promise.resolve(),
};

void t.test("a stream goes on where it was, with a little disorder", (t) => {
  const stream = new Stream(below, undefined, 50 * MIB);
  for (const at of [48, 50, 51, 52]) t.ok(stream.continuesAt(at * MIB), `${at} MiB`);
  for (const at of [0, 47, 53]) t.notOk(stream.continuesAt(at * MIB), `${at} MiB`);
  t.end();
});

void t.test("it has a window once it has proved to be one", (t) => {
  const small = new Stream(below, undefined, 4 * KIB);
  for (let at = 4; at < 256; at += 4) {
    t.equal(small.window, 0);
    small.read(at * KIB, 4 * KIB);
  }
  small.read(256 * KIB, 4 * KIB);
  t.equal(small.window, 2);
  const large = new Stream(below, undefined, MIB);
  large.read(MIB, 128 * KIB);
  t.equal(large.window, 2);
  t.end();
});

void t.test("blocks that are there already count as ahead, and ask for nothing", (t) => {
  const stream = new Stream(below, undefined, 0);
  stream.begin(MIB);
  t.equal(
    stream.fetchNext(8, () => undefined),
    "full",
  );
  t.end();
});
