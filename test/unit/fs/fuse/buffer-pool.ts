import t from "tap";
import { BufferPool } from "../../../../src/fs/fuse/buffer-pool.js";
import { KIB, MIB } from "../../../../src/units.js";

const pool = new BufferPool();
const small = pool.take(1);
t.equal(small.length, 128 * KIB);
t.equal(pool.take(128 * KIB).length, 128 * KIB);
const large = pool.take(128 * KIB + 1);
t.equal(large.length, MIB);
t.not(pool.take(MIB), large, "what is in use is not handed out again");
pool.give(large);
pool.give(small);
t.equal(pool.take(MIB), large);
t.equal(pool.take(4096), small);
t.throws(() => pool.take(MIB + 1), RangeError);

const many = Array.from({ length: 20 }, () => pool.take(MIB));
for (const buffer of many) pool.give(buffer);
const kept = Array.from({ length: 20 }, () => pool.take(MIB)).filter((buffer) => many.includes(buffer));
t.equal(kept.length, 16, "the idle ones are bounded");
