import { createHash } from "node:crypto";
import { setImmediate as turn } from "node:timers/promises";
import t from "tap";
import { checksum } from "../../../../src/xen/xva/checksum.js";
import { ChunkHashes } from "../../../../src/xen/xva/chunk-hashes.js";
import { CHUNK_BYTES } from "../../../../src/xen/xva/chunk-map.js";

const CHUNKS = 300;
/** Far from the 300 MiB of all chunks, and above what one scavenge leaves. */
const BYTES_MAX = 64 * 1024 * 1024;
const CHUNK = Buffer.alloc(CHUNK_BYTES, 7);
const HASH = createHash("sha1").update(CHUNK).digest("hex");
const { signal } = new AbortController();

async function load(into: Uint8Array): Promise<void> {
  await turn();
  into.set(CHUNK.subarray(0, into.length));
}

function place(chunk: number): { disk: number; chunk: number; chunkBytes: number } {
  return { disk: 0, chunk, chunkBytes: CHUNK_BYTES };
}

/** Of buffers that are in use, or that nobody has collected yet. */
async function mostHeld(pass: (hashes: ChunkHashes, chunk: number) => Promise<void>, step = 1): Promise<number> {
  const hashes = new ChunkHashes(await checksum("sha1"));
  const before = process.memoryUsage().arrayBuffers;
  let most = 0;
  for (let chunk = 0; chunk < CHUNKS; chunk += step) {
    await pass(hashes, chunk);
    most = Math.max(most, process.memoryUsage().arrayBuffers - before);
  }
  return most;
}

await t.test("who lists an archive takes no more memory the longer it is", async (t) => {
  const part = CHUNK.subarray(0, 128 * 1024);
  const most = await mostHeld(async (hashes, chunk) => {
    await hashes.passing(place(chunk), 0, part, () => turn());
    t.equal(await hashes.of(place(chunk), load, signal), HASH);
  });
  t.ok(most < BYTES_MAX, `${most} bytes`);
});

await t.test("nor do many who ask for hashes at once", async (t) => {
  const most = await mostHeld(async (hashes, chunk) => {
    const several = Array.from({ length: 15 }, (_, index) => hashes.of(place(chunk + index), load, signal));
    t.same(new Set(await Promise.all(several)), new Set([HASH]));
  }, 15);
  t.ok(most < BYTES_MAX, `${most} bytes`);
});

await t.test("nor those whose reads fail", async (t) => {
  const most = await mostHeld(async (hashes, chunk) => {
    const failing = async (): Promise<void> => {
      await turn();
      throw new Error("no");
    };
    await t.rejects(hashes.of(place(chunk), failing, signal));
    await t.rejects(hashes.passing(place(chunk), 0, CHUNK, failing));
  });
  t.ok(most < BYTES_MAX, `${most} bytes`);
});

await t.test(
  "what is hashed lies in shared memory, so that a thread can do it, unless very many ask at once",
  async (t) => {
    const sha1 = await checksum("sha1");
    const isShared: boolean[] = [];
    const hashes = new ChunkHashes({
      ...sha1,
      of: (data) => {
        isShared.push(data.buffer instanceof SharedArrayBuffer);
        return sha1.of(data);
      },
    });
    await hashes.passing(place(0), 0, CHUNK, () => turn());
    await Promise.all([0, 1, 2, 3].map((chunk) => hashes.of(place(chunk), load, signal)));
    t.same(isShared, [true, true, true, true]);
  },
);
