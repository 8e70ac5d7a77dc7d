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

void t.test("the memory goes back to the process when nobody uses it", async (t) => {
  const slabs = new Slabs(16, 2, () => undefined);
  const [first, second] = [await slabs.acquire(), await slabs.acquire()];
  t.equal(first.buffer, second.buffer, "one piece of memory");
  t.equal(second.byteOffset - first.byteOffset, 16);
  slabs.release(first);
  slabs.drop();
  t.equal(await slabs.acquire(), first, "it is still in use");
  slabs.release(first);
  slabs.release(second);
  t.equal(slabs.inUse, 0);
  slabs.drop();
  t.not((await slabs.acquire()).buffer, first.buffer);
});

void t.test("more memory than one buffer of Node may have", async (t) => {
  const slabBytes = 2 ** 28;
  const slabs = new Slabs(slabBytes, 32, () => undefined);
  const all = await Promise.all(Array.from({ length: 32 }, () => slabs.acquire()));
  t.equal(new Set(all.map(({ buffer }) => buffer)).size, 32, "8 GiB that nobody has written to");
  t.ok(all.every(({ length }) => length === slabBytes));
});
