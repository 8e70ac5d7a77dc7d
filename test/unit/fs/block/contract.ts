import { randomUUID } from "node:crypto";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import t from "tap";
import type { BlockSource } from "../../../../src/block-source.js";
import { BlockCache } from "../../../../src/fs/block/cache.js";
import { cached } from "../../../../src/fs/block/cached.js";
import { ExtentMap } from "../../../../src/fs/block/extent-map.js";
import { limited, readLimit } from "../../../../src/fs/block/limited.js";
import { metered, ReadMeter } from "../../../../src/fs/block/metered.js";
import { paced } from "../../../../src/fs/block/paced.js";
import { Parallelism } from "../../../../src/fs/block/parallelism.js";
import { Prefetcher } from "../../../../src/fs/block/prefetcher.js";
import { readAhead } from "../../../../src/fs/block/read-ahead.js";
import { retrying } from "../../../../src/fs/block/retrying.js";
import { sparse } from "../../../../src/fs/block/sparse.js";
import { bytes } from "../../../../src/units.js";
import { faulty } from "../../../fixtures/block/faulty.js";
import { localFileSource } from "../../../fixtures/block/local-file.js";
import { memorySource } from "../../../fixtures/block/memory.js";
import { blockSourceContract } from "../../../fixtures/contract/block-source.js";

const BLOCK = 4096;
const POLICY = { retriesMax: 2, delayMs: 0, delayMsMax: 0 };

const memory = (content: Uint8Array) => memorySource(content, { granularity: 512 });
const cache = (blocks: number) => new BlockCache({ bytesMax: blocks * BLOCK, blockBytes: BLOCK });

function readingAhead(content: Uint8Array, blocks: number): BlockSource {
  const below = cache(blocks);
  return readAhead(cached(memory(content), below), { prefetcher: new Prefetcher(below, { windowMax: 4 }) });
}

async function mapOf(source: BlockSource): Promise<ExtentMap> {
  const { signal } = new AbortController();
  return ExtentMap.collect(source.size, source.extents?.(bytes(0), source.size, { signal }) ?? []);
}

const SOURCES: Record<string, (content: Uint8Array) => BlockSource | Promise<BlockSource>> = {
  "memory with extents": memory,
  "memory without extents": (content) => memorySource(content),
  "faulty without faults": (content) => faulty(memory(content), () => undefined),
  metered: (content) => metered(memory(content), new ReadMeter()),
  limited: (content) => limited(memory(content), readLimit(2)),
  retrying: (content) => retrying(memory(content), { policy: POLICY, deadlineMs: 60_000 }),
  "retrying over every second read failing": (content) =>
    retrying(
      faulty(memory(content), ({ number }) => (number % 2 === 0 ? { retryable: true } : undefined)),
      { policy: { ...POLICY, retriesMax: 100 }, deadlineMs: 60_000 },
    ),
  "cached, all fits": (content) => cached(memory(content), cache(64)),
  "cached, two blocks": (content) => cached(memory(content), cache(2)),
  paced: (content) => paced(memory(content), new Parallelism(4)),
  "read-ahead": (content) => readingAhead(content, 8),
  "read-ahead, two blocks": (content) => readingAhead(content, 2),
  "one of several readers of read-ahead": (content) => {
    const source = readingAhead(content, 8);
    // The source is what owns the bytes below.
    return { ...(source.reader?.() ?? source), [Symbol.asyncDispose]: () => source[Symbol.asyncDispose]() };
  },
  sparse: async (content) => sparse(memory(content), await mapOf(memory(content))),
};

for (const [name, open] of Object.entries(SOURCES)) {
  void t.test(name, (t) => blockSourceContract(t, { open, blockBytes: BLOCK }));
}

void t.test("local file", async (t) => {
  const folder = t.testdir({});
  const open = async (content: Uint8Array): Promise<BlockSource> => {
    const path = join(folder, randomUUID());
    await writeFile(path, content);
    return localFileSource(path);
  };
  await blockSourceContract(t, { open, runs: 30 });
  await blockSourceContract(t, { open: async (content) => cached(await open(content), cache(4)), runs: 30 });
});
