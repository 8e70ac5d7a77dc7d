import t from "tap";
import { FailedBlocks } from "../../../../src/fs/fuse/failed-blocks.js";
import { KIB, MIB } from "../../../../src/units.js";

void t.test("a failed block fails at once for a while, then is tried again", (t) => {
  let now = 1000;
  const failed = new FailedBlocks(() => now);
  t.notOk(failed.has(5, 0, 4096));
  failed.add(5, 3 * MIB, MIB);
  t.ok(failed.has(5, 3 * MIB, 4096));
  t.ok(failed.has(5, 4 * MIB - 4096, 4096));
  t.notOk(failed.has(5, 4 * MIB, 4096), "the next block");
  t.notOk(failed.has(5, 3 * MIB - 4096, 4096), "the block before");
  t.notOk(failed.has(6, 3 * MIB, 4096), "another file");
  t.notOk(failed.has(5, 3 * MIB - 4096, 8192), "a read that starts before it may still be tried");
  now += 1499;
  t.ok(failed.has(5, 3 * MIB, 4096));
  now += 1;
  t.notOk(failed.has(5, 3 * MIB, 4096));
  t.notOk(failed.has(5, 3 * MIB, 4096));
  t.end();
});

void t.test("a read across blocks does not say which one is bad", (t) => {
  const failed = new FailedBlocks(() => 0);
  failed.add(5, 512 * KIB, MIB);
  t.notOk(failed.has(5, 512 * KIB, 4096));
  t.notOk(failed.has(5, MIB, 4096));
  t.end();
});

void t.test("memory is bounded: the oldest are forgotten", (t) => {
  const failed = new FailedBlocks(() => 0);
  for (let block = 0; block < 1025; block++) failed.add(5, block * MIB, 4096);
  t.notOk(failed.has(5, 0, 4096));
  t.ok(failed.has(5, MIB, 4096));
  t.ok(failed.has(5, 1024 * MIB, 4096));
  t.end();
});
