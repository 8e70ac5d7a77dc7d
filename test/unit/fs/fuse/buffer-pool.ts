import t from "tap";
import { BufferPool } from "../../../../src/fs/fuse/buffer-pool.js";
import { bytes, KIB, MIB } from "../../../../src/units.js";

void t.test("buffers come in two sizes and are used again", (t) => {
  const pool = new BufferPool(bytes(4 * MIB));
  const small = pool.take(1);
  t.equal(small?.length, 128 * KIB);
  t.equal(pool.take(128 * KIB)?.length, 128 * KIB);
  const large = pool.take(128 * KIB + 1);
  t.equal(large?.length, MIB);
  t.not(pool.take(MIB), large, "what is in use is not handed out again");
  if (large !== undefined) pool.give(large);
  if (small !== undefined) pool.give(small);
  t.equal(pool.take(MIB), large);
  t.equal(pool.take(4096), small);
  t.throws(() => pool.take(MIB + 1), RangeError);
  t.end();
});

void t.test("all of them together stay within the bound", (t) => {
  const pool = new BufferPool(bytes(3 * MIB));
  const taken = [pool.take(MIB), pool.take(MIB), pool.take(MIB)];
  t.equal(pool.take(1), undefined, "nothing is left");
  for (const buffer of taken) if (buffer !== undefined) pool.give(buffer);
  const small = Array.from({ length: 24 }, () => pool.take(1));
  t.notOk(small.includes(undefined), "idle large ones gave way to small ones");
  t.equal(pool.take(1), undefined);
  const [first] = small;
  if (first !== undefined) pool.drop(first);
  const fresh = pool.take(1);
  t.ok(fresh !== undefined && !small.includes(fresh), "a dropped buffer makes room and is not used again");
  t.end();
});

void t.test("however small the bound, one read can be answered", (t) => {
  const pool = new BufferPool(bytes(1));
  const only = pool.take(MIB);
  t.equal(only?.length, MIB);
  t.equal(pool.take(1), undefined);
  if (only !== undefined) pool.give(only);
  t.ok(pool.take(1));
  t.end();
});
