import { createHash, randomBytes } from "node:crypto";
import { subscribe, unsubscribe } from "node:diagnostics_channel";
import { once } from "node:events";
import type { Worker } from "node:worker_threads";
import t from "tap";
import { HashThread } from "../../../../src/xen/xva/hash-thread.js";

const MIB = 1024 * 1024;

function shared(length: number): Buffer {
  const data = Buffer.from(new SharedArrayBuffer(length));
  randomBytes(length).copy(data);
  return data;
}

function expected(data: Uint8Array): string {
  return createHash("sha1").update(data).digest("hex");
}

await t.test("hashes parts of shared memory, several at once, each for itself", async (t) => {
  const thread = new HashThread();
  t.teardown(() => thread.close());
  const all = Array.from({ length: 8 }, () => shared(MIB));
  const parts = all.map((data, index) => data.subarray(index * 100, MIB - index));
  t.same(await Promise.all(parts.map((part) => thread.sha1(part))), parts.map(expected));
  t.equal(await thread.sha1(Buffer.alloc(0)), "da39a3ee5e6b4b0d3255bfef95601890afd80709", "of nothing");
});

await t.test("hashes what is not shared as well", async (t) => {
  const thread = new HashThread();
  const data = randomBytes(1000);
  t.equal(await thread.sha1(data), expected(data));
});

await t.test("this thread goes on while the other one hashes", async (t) => {
  const thread = new HashThread();
  t.teardown(() => thread.close());
  await thread.sha1(shared(1));
  let ticks = 0;
  const timer = setInterval(() => ticks++, 1);
  const data = shared(64 * MIB);
  t.equal(await thread.sha1(data), expected(data));
  clearInterval(timer);
  t.ok(ticks > 0, "timers came");
});

await t.test("once it is closed, nobody waits for it, now or later", async (t) => {
  const thread = new HashThread();
  const all = Array.from({ length: 20 }, () => shared(MIB));
  const hashes = all.map((data) => thread.sha1(data));
  await thread.close();
  t.same(await Promise.all(hashes), all.map(expected), "what was under way");
  const later = shared(MIB);
  t.equal(await thread.sha1(later), expected(later), "what comes later");
  await thread.close();
});

for (const [how, end] of [
  ["is ended", (worker: Worker) => void worker.terminate()],
  [
    "fails",
    (worker: Worker) => {
      worker.postMessage(null);
    },
  ],
] as const) {
  await t.test(`a thread that ${how} leaves nobody waiting, and a warning`, async (t) => {
    const warned = once(process, "warning");
    const workers: Worker[] = [];
    const onThread = (message: unknown): void => {
      workers.push((message as { worker: Worker }).worker);
    };
    subscribe("worker_threads", onThread);
    t.teardown(() => unsubscribe("worker_threads", onThread));
    const thread = new HashThread();
    t.teardown(() => thread.close());
    const first = shared(MIB);
    t.equal(await thread.sha1(first), expected(first));
    t.equal(workers.length, 1);
    end(workers[0]!);
    const all = Array.from({ length: 20 }, () => shared(MIB));
    t.same(await Promise.all(all.map((data) => thread.sha1(data))), all.map(expected), "what was under way");
    t.match(String(((await warned) as Error[])[0]), /no thread for SHA-1/);
    const later = shared(MIB);
    t.equal(await thread.sha1(later), expected(later), "what comes later");
  });
}
