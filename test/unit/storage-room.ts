import t from "tap";
import { freeAfterSnapshot } from "../../src/storage-room.js";

void t.test("what a snapshot sets aside at once is not free afterwards", (t) => {
  t.equal(freeAfterSnapshot({ name: "ds1", free: 100, setAside: 0 }), 100);
  t.equal(freeAfterSnapshot({ name: "lvm", free: 100, setAside: 130 }), -30);
  t.equal(freeAfterSnapshot({ name: "nfs", free: undefined, setAside: 130 }), undefined);
  t.end();
});
