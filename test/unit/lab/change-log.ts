import t from "tap";
import { ChangeLog, TRACKING_BLOCK_BYTES } from "../../../src/lab/disk/change-log.js";

const CAPACITY = 10 * TRACKING_BLOCK_BYTES;
const block = (n: number) => ({ start: n * TRACKING_BLOCK_BYTES, length: TRACKING_BLOCK_BYTES });

await t.test("what was written between two snapshots, in blocks", (t) => {
  const log = new ChangeLog();
  log.record({ start: 5, length: 1 }, CAPACITY);
  const first = log.advance();
  log.record({ start: TRACKING_BLOCK_BYTES, length: 512 }, CAPACITY);
  const second = log.advance();
  log.record({ start: 9 * TRACKING_BLOCK_BYTES, length: 512 }, CAPACITY);
  t.match(first, /^([0-9a-f]{2} ){7}[0-9a-f]{2}-([0-9a-f]{2} ){7}[0-9a-f]{2}\/2$/);
  t.strictSame(log.since(first, second), [block(1)]);
  t.strictSame(log.since(second, undefined), [block(9)]);
  t.strictSame(log.since(first, undefined), [block(1), block(9)]);
  t.strictSame(log.since(second, second), []);
  t.equal(log.since(second, first), undefined, "backwards");
  t.end();
});

await t.test("a foreign, future or broken change id is refused", (t) => {
  const log = new ChangeLog();
  const own = log.changeId;
  const uuid = own.slice(0, own.lastIndexOf("/"));
  for (const id of ["*", "", "x/1", `${uuid}/2`, `${uuid}/0`, `${uuid}/1.5`, `${uuid}/`]) {
    t.equal(log.since(id, undefined), undefined, id);
  }
  log.reset();
  t.equal(log.since(own, undefined), undefined, "after a reset");
  t.end();
});

await t.test("its state survives", (t) => {
  const log = new ChangeLog();
  const first = log.advance();
  log.record({ start: 0, length: 1 }, CAPACITY);
  const again = new ChangeLog(log.state());
  t.strictSame(again.since(first, undefined), [block(0)]);
  t.equal(again.changeId, log.changeId);
  t.end();
});
