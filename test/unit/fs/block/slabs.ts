import t from "tap";
import { Slabs } from "../../../../src/fs/block/slabs.js";

void t.test("slabs are handed out up to the bound, then reclaimed, then waited for in order", async (t) => {
  const reclaimable: Uint8Array[] = [];
  const slabs = new Slabs(16, 2, () => reclaimable.pop());
  const first = await slabs.acquire();
  const second = await slabs.acquire();
  t.equal(first.length, 16);
  t.equal(slabs.inUse, 2);
  reclaimable.push(first);
  t.equal(await slabs.acquire(), first, "what somebody can do without");
  const got: string[] = [];
  const waiting = ["a", "b"].map(async (name) => {
    const slab = await slabs.acquire();
    got.push(name);
    return slab;
  });
  slabs.serveLine();
  slabs.release(second);
  t.equal(await waiting[0], second);
  reclaimable.push(first);
  slabs.serveLine();
  t.equal(await waiting[1], first);
  t.strictSame(got, ["a", "b"]);
});

void t.test("free slabs go back to the process", async (t) => {
  const slabs = new Slabs(16, 1, () => undefined);
  const slab = await slabs.acquire();
  slabs.release(slab);
  t.equal(slabs.inUse, 0);
  t.equal(await slabs.acquire(), slab);
  slabs.release(slab);
  slabs.dropFree();
  t.not(await slabs.acquire(), slab);
});
